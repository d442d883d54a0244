#!/bin/bash
# A private RabbitMQ node below the state directory: own name, data, cookie, ports and port mapper.
# Several live side by side when FLUIDCLOUD_STATE or RABBIT_PORT differ. Data survives stop and kill9.
# usage: [RABBIT_PORT=5672] rabbitmq.sh start|stop|kill9|restart|url|status|ctl ARGUMENT…
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

RABBIT_PORT=${RABBIT_PORT:-5672}
[[ $RABBIT_PORT =~ ^[0-9]+$ ]] && ((RABBIT_PORT >= 1024 && RABBIT_PORT <= 65535)) ||
    die "RABBIT_PORT=$RABBIT_PORT is not a port" "expected 1024 to 65535" "RABBIT_PORT=5672 deploy/lab/rabbitmq.sh start"
NODE=$LAB/rabbitmq/$RABBIT_PORT
SBIN=/usr/lib/rabbitmq/bin
START_SECONDS=120
STOP_SECONDS=30

environment() {
    # Away from the AMQP port, inside the valid range, and not the defaults of a system broker.
    local offset=21111
    ((RABBIT_PORT < 43000)) || offset=-21111
    # The package's scripts fall back to /etc/rabbitmq, /var/lib/rabbitmq and HOME, which may belong
    # to another broker of this machine; a name at localhost needs no resolvable host name.
    export HOME=$NODE RABBITMQ_NODENAME=fluidcloud-$RABBIT_PORT@localhost
    export RABBITMQ_CONF_ENV_FILE=$NODE/none
    export RABBITMQ_CONFIG_FILE=$NODE/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$NODE/none
    export RABBITMQ_ENABLED_PLUGINS_FILE=$NODE/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$NODE/data RABBITMQ_LOG_BASE=$NODE/log
    export RABBITMQ_PID_FILE=$NODE/node.pid
    export RABBITMQ_DIST_PORT=$((RABBIT_PORT + offset + offset / 21111 * 1111))
    export RABBITMQ_CTL_DIST_PORT_MIN=$((RABBITMQ_DIST_PORT + 1)) RABBITMQ_CTL_DIST_PORT_MAX=$((RABBITMQ_DIST_PORT + 10))
    export ERL_EPMD_PORT=$((RABBIT_PORT + offset)) ERL_EPMD_ADDRESS=127.0.0.1
    # Two cores are shared with emulated guests and builds. The last flag means nothing to Erlang:
    # it is how the pid file is recognised as ours.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +A 16 -kernel inet_dist_use_interface {127,0,0,1} -fluidcloud $NODE"
    # The start script then becomes the broker instead of its parent, so the pid is the broker's.
    export RUNNING_UNDER_SYSTEMD=true
}

configure() {
    mkdir -p "$NODE/data" "$NODE/log"
    cat >"$NODE/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$RABBIT_PORT
num_acceptors.tcp = 2
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 100MB
raft.wal_max_size_bytes = 33554432
log.file.level = info
END
    echo '[].' >"$NODE/enabled_plugins"
}

# spawn NAME COMMAND…: detached from our session, locks and terminal; exec keeps the pid.
spawn() {
    local name=$1
    shift
    rm -f "$NODE/$name.pid"
    (
        exec </dev/null >>"$NODE/log/$name.out" 2>&1 9>&-
        cd "$NODE"
        # shellcheck disable=SC2016
        exec setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' _ "$NODE/$name.pid" "$@"
    ) &
    disown
    wait_for 5 test -s "$NODE/$name.pid"
}

beam_alive() { alive "$NODE/beam.pid" "-fluidcloud $NODE"; }
epmd_alive() { alive "$NODE/epmd.pid" "-port $ERL_EPMD_PORT"; }

# A broker that opens its listener has recovered its queues; the first byte of its greeting is a
# method frame.
accepts() {
    # shellcheck disable=SC2016
    timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"; printf "AMQP\0\0\11\1" >&3; [[ $(head -c 1 <&3) == $'"'\\1'"' ]]' _ "$RABBIT_PORT"
}

start() {
    beam_alive && wait_for "$START_SECONDS" accepts && return
    [[ -x $SBIN/rabbitmq-server ]] || die "RabbitMQ is missing" "no $SBIN/rabbitmq-server" "deploy/lab/lab packages lab"
    ! accepts 2>/dev/null ||
        die "port $RABBIT_PORT is taken" "another broker answers on 127.0.0.1:$RABBIT_PORT" "RABBIT_PORT=<another> deploy/lab/rabbitmq.sh start"
    configure
    # Ours, in the foreground: the broker would otherwise start one that outlives it.
    epmd_alive || spawn epmd epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1
    # The name of a broker killed a moment ago may still be registered.
    wait_for 10 name_is_free || true
    spawn beam "$SBIN/rabbitmq-server"
    local until=$((SECONDS + START_SECONDS))
    until accepts 2>/dev/null; do
        sleep 0.3
        if ((SECONDS > until)) || ! is_running "$(cat "$NODE/beam.pid")"; then
            tail -n 20 "$NODE/log/beam.out" >&2
            stop
            die "RabbitMQ did not start on port $RABBIT_PORT" "see above and $NODE/log" "if a port is taken, set RABBIT_PORT to another"
        fi
    done
}

name_is_free() {
    ! has "fluidcloud-$RABBIT_PORT " epmd -names
}

stop() {
    local until=$((SECONDS + STOP_SECONDS)) pid
    if beam_alive; then
        pid=$(cat "$NODE/beam.pid")
        kill -TERM "$pid"
        while is_running "$pid" && ((SECONDS < until)); do sleep 0.1; done
        stop_pids "$pid"
    fi
    if epmd_alive; then
        stop_pids "$(cat "$NODE/epmd.pid")"
    fi
    rm -f "$NODE/beam.pid" "$NODE/epmd.pid"
}

# As a crash would: only the broker, without warning. The port mapper stays for the next start.
kill9() {
    beam_alive || die "no broker to kill on port $RABBIT_PORT" "it does not run" "deploy/lab/rabbitmq.sh start"
    local pid
    pid=$(cat "$NODE/beam.pid")
    kill -KILL "$pid"
    while is_running "$pid"; do sleep 0.05; done
}

environment
case ${1:-} in
    start | stop | kill9) "$1" ;;
    restart) stop && start ;;
    url) echo "amqp://127.0.0.1:$RABBIT_PORT/%2f" ;;
    status) if beam_alive && accepts 2>/dev/null; then echo up; else echo down && exit 1; fi ;;
    ctl)
        shift
        exec "$SBIN/rabbitmqctl" -q "$@"
        ;;
    *)
        echo "usage: [RABBIT_PORT=5672] rabbitmq.sh start|stop|kill9|restart|url|status|ctl ARGUMENT…" >&2
        exit 2
        ;;
esac
