# The object store outside both clouds: nginx with PUT, GET and DELETE below /shop/, in a namespace
# of its own. It stays where it is when the shop moves.

STORE_URL=http://10.213.3.2:9000/shop

store_is_up() {
    alive "$LAB/store/nginx.pid" "$LAB/store" && store_answers
}

store_answers() {
    curl -sf -m 3 -o /dev/null "$STORE_URL/catalog.json"
}

store_up() {
    store_seed
    store_is_up && return
    need nginx curl
    store_down
    mkdir -p "$LAB/store/tmp"
    cat >"$LAB/store/nginx.conf" <<END
user root;
worker_processes 1;
pid $LAB/store/nginx.pid;
error_log $LAB/store/error.log;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $LAB/store/tmp/body;
    proxy_temp_path $LAB/store/tmp/proxy;
    fastcgi_temp_path $LAB/store/tmp/fastcgi;
    uwsgi_temp_path $LAB/store/tmp/uwsgi;
    scgi_temp_path $LAB/store/tmp/scgi;
    client_max_body_size 0;
    server {
        listen 10.213.3.2:9000;
        root $LAB/store/objects;
        location / {
            autoindex on;
            dav_methods PUT DELETE MKCOL;
            create_full_put_path on;
        }
    }
}
END
    in_ns fc-store nginx -c "$LAB/store/nginx.conf" -e "$LAB/store/error.log"
    wait_for 10 store_answers ||
        die "the object store does not answer at $STORE_URL" "see $LAB/store/error.log" "deploy/lab/lab down, then up"
}

store_down() {
    local pids
    mapfile -t pids < <(net_pids fc-store)
    stop_pids "${pids[@]}"
    rm -f "$LAB/store/nginx.pid"
}

# One object of a few KB, the same on every machine, replaced by rename so that no reader sees half.
store_seed() {
    local i dir=$LAB/store/objects/shop
    [[ ! -s $dir/catalog.json ]] || return 0
    mkdir -p "$dir"
    {
        echo '{"catalog": ['
        for i in {1..64}; do
            printf '  {"item": %d, "name": "item-%d", "price_cents": %d},\n' "$i" "$i" $((i * 137 % 9999))
        done
        echo '  {"item": 65, "name": "last", "price_cents": 1}'
        echo ']}'
    } >"$dir/.catalog.json"
    mv "$dir/.catalog.json" "$dir/catalog.json"
}
