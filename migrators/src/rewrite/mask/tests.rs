//! Everything that must not be shown, in all the forms people write it; and what must be.

use super::*;

fn shown(text: &str) -> String {
    lines(text).join("\n")
}

#[test]
fn no_secret_is_shown_in_whatever_form_it_is_written() {
    for text in [
        "password = hunter2",
        "\"api_key\": \"hunter2\", \"host\": \"db\"",
        "export DB_PASSWORD='hunter2 x'",
        "db_pwd: hunter2",
        "APP_PASSPHRASE=a b hunter2",
        "requirepass hunter2",
        "machine db login me password hunter2",
        "spring.datasource.password=hunter2",
        "password => 'hunter2',",
        "$cfg['Servers']['password'] = 'hunter2';",
        "define('DB_PASSWORD', 'hunter2');",
        "<password>hunter2</password>",
        "<add key=\"DbPassword\" value=\"hunter2\"/>",
        "  - name: DB_PASSWORD\n    value: hunter2",
        "{\"name\": \"API_TOKEN\", \"value\": \"hunter2\"}",
        "identified by 'hunter2'",
        "ExecStart=/bin/app --db-password hunter2 --port 80",
        "url=postgres://me:hunter2@db/shop",
        "url=postgres://me:hun/ter@hunter2@db/shop",
        "url = redis://:hunter2@db",
        "dsn: me:hunter2@tcp(db:3306)/shop",
        "remote = me:hunter2@db",
        "remote = https://hunter2@git.example.com/x",
        "db.old:5432:shop:me:hunter2",
        "mysql -h db.old -u root -phunter2 shop",
        "curl -u admin:hunter2 http://old/",
        "Authorization: Bearer hunter2",
        "curl -H 'Authorization: Basic hunter2' http://db",
        "header = Bearer hunter2x",
        "\"password\": \"ab\\\"cd hunter2\"",
        "secret = 'a;hunter2'",
        "password: |\n  hunter2\n  more hunter2",
        "passwords:\n  one: hunter2\n  two: hunter2",
        "\"tokens\": [\n\"hunter2\",\n\"hunter2\"\n]",
        "password = \"a\nhunter2\nb\"",
        "password = a\\\nhunter2",
        "[credentials]\nme = hunter2",
        "# password: hunter2",
        "key: hunter2",
        "SharedAccessSignature=hunter2",
        "https://x/y?x=1&access_token=hunter2",
        "snmp community hunter2",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "pem: \"-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\"",
    ] {
        let shown = shown(text);
        assert!(!shown.contains("hunter2") && shown.contains(MASK), "{text}\nis shown as\n{shown}");
    }
}

#[test]
fn what_looks_random_is_not_shown_whatever_it_is_called() {
    for random in [
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "9f86d081884c7d659a2feaa0c55ad015",
        "b4b1f2de-5d0c-4a57-9a55-2b1f6c1a2f00",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "c2hvcDpodW50ZXIy=",
        "aHVudGVyMg==",
    ] {
        for line in [format!("option {random}"), format!("x: \"{random}\""), format!("/srv/a?b={random}")] {
            assert!(!shown(&line).contains(random), "{}", shown(&line));
        }
        assert!(!key_only(&format!("{random}: x")).contains(random) || random.len() < 20, "{random}");
    }
}

#[test]
fn what_a_rule_is_about_is_shown() {
    for line in [
        "  \"data\": \"/mnt/volume/shop\",",
        "interpreter=/usr/lib/x86_64-linux-gnu/node-v18.19.0/bin/node",
        "endpoint = http://10.20.0.1:9000/shop-images-2024",
        "server_name shop.production.example.com;",
        "listen 0.0.0.0:8080",
        "image: registry.example.com/team/application-server:v1.2.3",
        "/dev/sda1 /srv/data ext4 defaults,nofail 0 2",
        "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet console=ttyS0,115200\"",
        "DatabaseConnectionPoolSize = 20",
        "export NODE_OPTIONS=",
        "",
    ] {
        assert_eq!(shown(line), line);
    }
    assert_eq!(shown("url=postgres://me:x@db/shop"), "url=postgres://me:***@db/shop");
    assert_eq!(shown("\"password\": \"x\", \"host\": \"db\""), "\"password\": ***, \"host\": \"db\"");
    let below = "token: x\nhost: db\n[secrets]\na = b\n\n[app]\nc = d";
    assert_eq!(shown(below), "token: ***\nhost: db\n[secrets]\na = ***\n\n[app]\nc = d");
}

#[test]
fn of_a_line_nearby_only_its_key_is_shown() {
    for (line, key) in [
        ("  \"user\": \"me\",", "  \"user\": …"),
        ("data=/srv", "data= …"),
        ("hunter2", "…"),
        ("  - hunter2", "  …"),
        ("}, {", "}, {"),
        ("[section]", "[section]"),
        ("root:$6$x:1:2", "root: …"),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC=", "…"),
    ] {
        assert_eq!(key_only(line), key);
    }
}
