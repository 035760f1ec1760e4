//! Help and completions.

use crate::support::World;

const COMMANDS: [&[&str]; 26] = [
    &["init"],
    &["server"],
    &["server", "add"],
    &["server", "list"],
    &["server", "remove"],
    &["server", "move"],
    &["hop"],
    &["hop", "add"],
    &["hop", "list"],
    &["hop", "remove"],
    &["policy"],
    &["route"],
    &["card"],
    &["card", "new"],
    &["card", "take"],
    &["contacts"],
    &["direct"],
    &["contact", "rename"],
    &["contact", "remove"],
    &["verify"],
    &["send"],
    &["receive"],
    &["status"],
    &["log"],
    &["password"],
    &["doctor"],
];

#[test]
fn every_command_has_examples() {
    let world = World::new();
    let alice = world.nobody("alice");
    for command in COMMANDS.iter().chain(&[&["rotate"][..], &["completions"]]) {
        let help = alice.run(command.iter().chain(&["--help"])).done().out;
        assert!(help.contains("Examples:\n  meow ") && help.contains("Usage: meow "), "{command:?}: {help}");
    }
    let help = alice.run(["--help"]).done().out;
    for code in 0..=9 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is explained");
    }
    assert!(alice.run(["--version"]).done().out.starts_with("meow "));
    assert!(alice.run::<&str>([]).code(2).err.contains("Usage"));
}

#[test]
fn completions_for_every_shell() {
    let world = World::new();
    let alice = world.nobody("alice");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = alice.run(["completions", shell]).done().out;
        assert!(script.contains("meow") && script.contains("password-file"), "{shell}");
    }
    let script = alice.run(["completions", "bash"]).done().out;
    let check = format!("{script}\ncomplete -p meow");
    let checked = std::process::Command::new("bash").args(["-c", &check]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("_meow"));
}
