//! The command line, the configuration and the signals.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use meow_core::direct::REACH;
use meow_core::request::{Answer, Items, RefusalCode, Showing};
use meow_core::wire::Fixed;
use serde_json::Value;

use crate::process::{Relay, meowd, said};
use crate::support::client::{items, post_from, refused};
use crate::support::{Client, Owner};

#[tokio::test]
async fn one_line_on_standard_output_and_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut fingerprints = Vec::new();
    for signal in ["TERM", "INT"] {
        let relay = Relay::start(dir.path(), &[]).await;
        assert_ne!(relay.reference.url.port(), Some(0));
        fingerprints.push(relay.reference.fingerprint);
        let mut owner = Owner::registered(&relay.client().await).await;
        assert!(owner.drain(&relay.client().await).await.is_empty());
        let end = relay.stop(signal).await;
        assert_eq!((end.code, end.out.as_str()), (0, ""), "{}", end.err);
        assert!(end.err.contains("serving") && end.err.contains("stopped"), "{}", end.err);
    }
    assert_eq!(fingerprints[0], fingerprints[1], "the key is made once");
}

#[tokio::test]
async fn a_held_pull_is_answered_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(dir.path(), &[]).await;
    let client = relay.client().await;
    let mut owner = Owner::registered(&client).await;
    let pull = owner.pull(0, 50);
    let held = tokio::spawn(async move { client.ask(pull, 0).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(relay.stop("TERM").await.code, 0);
    assert_eq!(items(held.await.unwrap()), Items::default());
}

#[tokio::test]
async fn files_are_private_and_the_folder_is_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("made/for/it");
    let relay = Relay::start(&data, &[]).await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in ["server.key", "sealing.keys", "mail.db", "mail.db-wal", "meowd.lock", "reference"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    let second = said(&["run", "--data", data.to_str().unwrap(), "--listen", "http://127.0.0.1:0"]).await;
    assert_eq!((second.code, second.out.as_str()), (1, ""));
    assert!(second.err.contains("another meowd runs on the data folder"), "{}", second.err);
    relay.kill().await;
    Relay::start(&data, &[]).await;
}

#[tokio::test]
async fn info_shows_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let before = said(&["info", "--data", data]).await;
    assert_eq!(before.code, 1);
    assert!(before.err.contains("no relay was ever started"), "{}", before.err);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");

    let relay = Relay::start(dir.path(), &["--public-url", "https://relay.example"]).await;
    let mut client = Client {
        endpoint: "http://127.0.0.1:1".parse().unwrap(),
        ..Client::new(&crate::process::transports(), &listening(&relay).await, &relay.reference.fingerprint)
            .await
    };
    client.endpoint = listening(&relay).await;
    let owner = Owner::registered(&client).await;
    assert_eq!(client.deposit(&owner, &[1; 96]).await, Answer::Done);
    let json = said(&["info", "--data", data, "--json"]).await;
    let value: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value["reference"], relay.reference.to_string());
    assert_eq!(
        (&value["running"], &value["mailboxes"], &value["items"]),
        (&true.into(), &1.into(), &1.into())
    );
    assert_eq!(value["keys"].as_array().unwrap().len(), 2);
    assert_eq!(value["protocol"], 0);
    relay.stop("TERM").await;
    let text = said(&["info", "--data", data]).await;
    assert!(
        text.out.contains("https://relay.example/#skp=") && text.out.contains("running      no"),
        "{}",
        text.out
    );
}

/// Where it really listens, from its own log.
async fn listening(relay: &Relay) -> meow_core::transport::Endpoint {
    let dir = format!("/proc/{}/net/tcp", relay.pid());
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{}/fd", relay.pid()))
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(dir).unwrap();
    let line = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| {
            columns.get(3) == Some(&"0A")
                && inodes.iter().any(|inode| columns.get(9) == Some(&inode.as_str()))
        })
        .unwrap();
    let port = u16::from_str_radix(line[1].split_once(':').unwrap().1, 16).unwrap();
    format!("http://127.0.0.1:{port}/").parse().unwrap()
}

#[tokio::test]
async fn an_invitation_opens_the_door_from_outside_while_the_relay_runs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let early = said(&["invite", "--data", data]).await;
    assert_eq!(early.code, 1);
    let relay = Relay::start(dir.path(), &["--trusted-proxy", "127.0.0.1"]).await;
    let client = relay.client().await;
    let invited = said(&["invite", "--data", data, "--uses", "2", "--days", "1"]).await;
    assert_eq!(invited.code, 0, "{}", invited.err);
    let reference: meow_core::lane::ServerReference = invited.out.trim_end().parse().unwrap();
    assert_eq!((reference.fingerprint, &reference.url), (relay.reference.fingerprint, &relay.reference.url));
    let code = reference.invite.unwrap();

    let from_outside = async |owner: &mut Owner, invite: &str| {
        let (packet, pending) = client.seal(owner.register(invite), 0);
        pending.open(&post_from(&client.endpoint, "203.0.113.5", &packet).await).unwrap()
    };
    let mut owners = [(); 3].map(|()| Owner::new(&client.server));
    assert_eq!(refused(&from_outside(&mut owners[0], "").await), RefusalCode::NotInvited);
    assert_eq!(from_outside(&mut owners[0], &code).await, Answer::Done);
    assert_eq!(from_outside(&mut owners[1], &code).await, Answer::Done);
    assert_eq!(refused(&from_outside(&mut owners[2], &code).await), RefusalCode::NotInvited, "two uses");
    assert_eq!(client.ask(owners[2].register(""), 0).await, Answer::Done, "from here, without");
    let end = relay.stop("TERM").await;
    assert!(!end.err.contains(&*code) && !end.err.contains("203.0.113.5"), "{}", end.err);
}

#[tokio::test]
async fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let keep = async |relay: Relay| {
        let secs = relay.client().await.descriptor().await.limits.keep_secs;
        relay.stop("TERM").await;
        secs / 86_400
    };
    let run = |more: &[&str]| {
        let mut command = meowd([&["run", "--data", data], more].concat());
        command.env("MEOWD_LISTEN", "http://127.0.0.1:0");
        command
    };
    assert_eq!(keep(Relay::ready(run(&[])).await).await, 30, "the default");
    fs::write(dir.path().join("meowd.toml"), "keep-days = 3\nmailbox-limit = \"1MiB\"\n").unwrap();
    assert_eq!(keep(Relay::ready(run(&[])).await).await, 3, "the file in the data folder");
    let other = dir.path().join("other.toml");
    fs::write(&other, "keep-days = 4\n").unwrap();
    assert_eq!(
        keep(Relay::ready(run(&["--config", other.to_str().unwrap()])).await).await,
        4,
        "the file named"
    );
    let mut by_environment = run(&[]);
    by_environment.env("MEOWD_KEEP_DAYS", "5");
    assert_eq!(keep(Relay::ready(by_environment).await).await, 5);
    let mut by_both = run(&["--keep-days", "6"]);
    by_both.env("MEOWD_KEEP_DAYS", "5");
    assert_eq!(keep(Relay::ready(by_both).await).await, 6);
}

#[tokio::test]
async fn how_many_are_shown_as_present_is_an_option_in_each_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let run = |more: &[&str]| {
        let mut command = meowd([&["run", "--data", data], more].concat());
        command.env("MEOWD_LISTEN", "http://127.0.0.1:0").env("MEOWD_TRUSTED_PROXY", "127.0.0.1");
        command
    };
    let file = |text| fs::write(dir.path().join("meowd.toml"), text).unwrap();
    // From how many mailboxes of one address, and then of one in another network, records are taken.
    let taken = async |command| {
        let relay = Relay::ready(command).await;
        let client = relay.client().await;
        let mut counts = Vec::new();
        for from in ["203.0.113.5", "198.51.100.6"] {
            let mut count = 0;
            for _ in 0..4 {
                let mut owner = Owner::registered(&client).await;
                let (token_hash, record) = (Fixed([1; 32]), Box::new(Fixed([2; REACH])));
                let showing = Showing::Record { token_hash, record };
                let (packet, pending) = client.seal(owner.present(showing, 0), 2);
                match pending.open(&post_from(&client.endpoint, from, &packet).await).unwrap() {
                    Answer::Presented(_) => count += 1,
                    answer => assert_eq!(refused(&answer), RefusalCode::Busy),
                }
            }
            counts.push(count);
        }
        relay.stop("TERM").await;
        counts
    };
    assert_eq!(taken(run(&[])).await, [4, 4], "the default");
    file("presences = 5\npresences-per-address = 3\n");
    // Of the two that are left no network takes both.
    assert_eq!(taken(run(&[])).await, [3, 1], "the file");
    let mut by_environment = run(&[]);
    by_environment.env("MEOWD_PRESENCES", "3").env("MEOWD_PRESENCES_PER_ADDRESS", "2");
    assert_eq!(taken(by_environment).await, [2, 1]);
    let mut by_both = run(&["--presences", "0", "--presences-per-address", "1"]);
    by_both.env("MEOWD_PRESENCES", "3").env("MEOWD_PRESENCES_PER_ADDRESS", "2");
    assert_eq!(taken(by_both).await, [0, 0], "none at all");
}

#[tokio::test]
async fn wrong_usage_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let config = dir.path().join("config.toml");
    let passwords = dir.path().join("passwords");
    fs::write(&passwords, "user\n").unwrap();
    let passwords = passwords.to_str().unwrap();
    let run = ["run", "--data", data];
    let at = |text: &str| {
        fs::write(&config, text).unwrap();
        [&run[..], &["--config", config.to_str().unwrap()]].concat()
    };
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["frobnicate"], "unrecognized subcommand"),
        (vec!["run", "--frobnicate"], "unexpected argument"),
        ([&run[..], &["--listen", "nonsense"]].concat(), "not a URL"),
        ([&run[..], &["--listen", "gopher://x"]].concat(), "known: http, https"),
        ([&run[..], &["--listen", "http://127.0.0.1:0?frob=1"]].concat(), "unknown option"),
        ([&run[..], &["--tls-cert", "x"]].concat(), "belong together"),
        (
            [&run[..], &["--tls-cert", "/nowhere", "--tls-key", "/nowhere"]].concat(),
            "cannot read the certificate",
        ),
        ([&run[..], &["--basic-auth-file", passwords]].concat(), "wrong in line 1"),
        ([&run[..], &["--trusted-proxy", "localhost"]].concat(), "write an address"),
        ([&run[..], &["--store-limit", "4GB"]].concat(), "write a size like"),
        ([&run[..], &["--rate", "0", "--listen", "http://127.0.0.1:0"]].concat(), "the limit rate"),
        ([&run[..], &["--keep-days", "0", "--listen", "http://127.0.0.1:0"]].concat(), "is to be kept"),
        (
            [&run[..], &["--session-time", "0", "--listen", "http://127.0.0.1:0"]].concat(),
            "the limit session_time",
        ),
        (
            [&run[..], &["--sessions-per-address", "0", "--listen", "http://127.0.0.1:0"]].concat(),
            "the limit sessions_per_address",
        ),
        (
            [&run[..], &["--presences-per-address", "0", "--listen", "http://127.0.0.1:0"]].concat(),
            "the limit presences_per_address",
        ),
        (
            [&run[..], &["--presences", "300000000", "--listen", "http://127.0.0.1:0"]].concat(),
            "the limit presences must be at most 2^28",
        ),
        ([&run[..], &["--mailbox-items", "0", "--listen", "http://127.0.0.1:0"]].concat(), "mailbox_items"),
        ([&run[..], &["--public-url", "ftp://x", "--listen", "http://127.0.0.1:0"]].concat(), "known: http"),
        (
            [
                &run[..],
                &["--listen", "http://127.0.0.1:0", "--public-url", "http://user:secret@relay.example"],
            ]
            .concat(),
            "must not hold a user name or password",
        ),
        ([&run[..], &["--config", "/nowhere.toml"]].concat(), "there is no configuration file"),
    ];
    for (args, wanted) in cases {
        let end = said(&args).await;
        assert_eq!((end.code, end.out.as_str()), (2, ""), "{args:?}: {}", end.err);
        assert!(end.err.contains(wanted), "{args:?}: {}", end.err);
        assert!(!end.err.contains("secret"), "{}", end.err);
    }
    for (text, wanted) in [
        ("keep-days = 3\nfrobnicate = 1\n", "wrong in line 2: unknown field `frobnicate`"),
        ("keep-days = \"secret\"\n", "wrong in line 1"),
        ("listen = [\"nonsense\"]\n", "not a URL"),
        ("admission = \"all\"\n", "expected one of"),
        ("keep-days = \n", "wrong in line 1"),
    ] {
        let end = said(&at(text)).await;
        assert_eq!(end.code, 2, "{}", end.err);
        assert!(end.err.contains(wanted), "{text}: {}", end.err);
    }
}

#[tokio::test]
async fn damaged_and_lost_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    Relay::start(dir.path(), &[]).await.stop("TERM").await;
    let path = |name: &str| dir.path().join(name);
    let run = ["run", "--data", dir.path().to_str().unwrap(), "--listen", "http://127.0.0.1:0"];
    for (name, wanted) in
        [("server.key", "backup"), ("sealing.keys", "delete the file"), ("mail.db", "damaged")]
    {
        let good = fs::read(path(name)).unwrap();
        let mut bad = good.clone();
        // Of the store, what every start reads.
        bad[good.len().min(4000) / 2] ^= 1;
        fs::write(path(name), &bad).unwrap();
        let end = said(&run).await;
        assert_eq!(end.code, 1, "{name}: {}", end.err);
        assert!(end.err.contains(wanted), "{name}: {}", end.err);
        fs::write(path(name), &good).unwrap();
    }
    let key = fs::read(path("server.key")).unwrap();
    fs::remove_file(path("server.key")).unwrap();
    let end = said(&run).await;
    assert_eq!(end.code, 1);
    assert!(end.err.contains("server.key is missing"), "{}", end.err);
    assert!(!path("server.key").exists(), "no other key takes its place");
    fs::write(path("server.key"), key).unwrap();
    fs::remove_file(path("sealing.keys")).unwrap();
    Relay::start(dir.path(), &[]).await.stop("TERM").await;
    fs::remove_file(path("mail.db")).unwrap();
    let end = Relay::start(dir.path(), &[]).await.stop("TERM").await;
    assert!(end.err.contains("is gone"), "{}", end.err);
}

#[tokio::test]
async fn only_who_knows_a_password_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    fs::write(&passwords, "# who may\n\nalice:open sesame\n").unwrap();
    let relay = Relay::start(dir.path(), &["--basic-auth-file", passwords.to_str().unwrap()]).await;
    let authority = relay.reference.url.authority();
    let transports = crate::process::transports();
    for (user, welcome) in [("", false), ("alice:wrong@", false), ("alice:open%20sesame@", true)] {
        let url = format!("http://{user}{authority}/").parse().unwrap();
        let answer = crate::support::client::describe(&transports, &url, &relay.reference.fingerprint).await;
        assert_eq!(answer.is_ok(), welcome, "{user}");
    }
    assert!(!relay.stop("TERM").await.err.contains("sesame"));
}

#[tokio::test]
async fn help_and_completions_teach() {
    let help = said(&["--help"]).await;
    assert_eq!(help.code, 0);
    for wanted in ["Examples:", "Exit codes:", "meowd invite"] {
        assert!(help.out.contains(wanted), "{wanted}");
    }
    let bash = said(&["completions", "bash"]).await;
    assert!(bash.code == 0 && bash.out.contains("--public-url"));
}

#[tokio::test]
async fn logs_are_lines_of_json_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(dir.path(), &["--log-format", "json", "--log-level", "trace"]).await;
    let client = relay.client().await;
    let mut owner = Owner::registered(&client).await;
    assert_eq!(client.deposit(&owner, &[1; 96]).await, Answer::Done);
    owner.drain(&client).await;
    let end = relay.stop("TERM").await;
    let kinds: Vec<Value> = end.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(kinds.iter().any(|line| line["message"] == "serving"));
    assert!(kinds.iter().any(|line| line["kind"] == "Deposit"));
    // Nothing that names a mailbox or opens one.
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for secret in [owner.lkp.public().to_bytes().to_vec(), owner.token.to_vec()] {
        assert!(!end.err.to_lowercase().contains(&hex(&secret)) && !end.err.contains(&format!("{secret:?}")));
    }
    assert!(!end.err.contains("\"127.0.0.1\""));
}
