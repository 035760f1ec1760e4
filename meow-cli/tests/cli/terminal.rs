//! A person at a terminal, typing. Driven by tmux.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{World, meow};

/// A terminal of its own, on a tmux server of its own.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Says so loudly when there is no tmux; in CI that is a failure.
    fn open(world: &World) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(), "this test needs tmux: install it");
            eprintln!("\n*** SKIPPED: the terminal session needs tmux, which is not installed ***\n");
            return None;
        }
        let terminal = Self { socket: world.path("tmux").to_str().unwrap().to_owned() };
        let shell = "env -i PATH=/usr/bin:/bin TERM=screen PS1='$ ' sh";
        assert!(terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "180", "-y", "50", shell]).0);
        terminal.until("$ ");
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> (bool, String) {
        let done = Command::new("tmux").args(["-S", &self.socket]).args(args).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    }

    /// Types a line.
    fn line(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", text]).0);
        self.key("Enter");
    }

    fn key(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).0);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J"]).1
    }

    /// Waits until the screen shows this, and gives the screen.
    fn until(&self, text: &str) -> String {
        let patience = Instant::now() + Duration::from_secs(120);
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < patience, "{text:?} never came:\n{screen}");
            sleep(Duration::from_millis(50));
        }
    }

    fn clear(&self) {
        self.line("clear");
        while self.screen().trim_end() != "$" {
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_password_is_typed_and_never_shown() {
    let world = World::new();
    let Some(terminal) = Terminal::open(&world) else { return };
    let home = world.path("alice");
    let meow = format!("{} --home {}", meow().display(), home.display());

    terminal.line(&format!("{meow} init; echo code=$?"));
    terminal.until("New password:");
    terminal.line("one thing");
    terminal.until("The same again:");
    terminal.line("another thing");
    terminal.until("code=2");
    assert!(!home.exists());

    terminal.clear();
    terminal.line(&format!("{meow} init; echo code=$?"));
    terminal.until("New password:");
    terminal.line("typed secret");
    terminal.until("The same again:");
    terminal.line("typed secret");
    let screen = terminal.until("code=0");
    assert!(screen.contains("24 words") && screen.contains("later version"), "{screen}");
    assert!(!screen.contains("typed secret"), "{screen}");

    terminal.clear();
    terminal.line(&format!("{meow} contacts; echo code=$?"));
    terminal.until("Password:");
    terminal.line("typed wrong");
    let screen = terminal.until("code=4");
    assert!(!screen.contains("typed wrong"), "{screen}");

    terminal.clear();
    terminal.line(&format!("{meow} receive --follow"));
    terminal.until("Password:");
    terminal.key("C-c");
    terminal.until("\n$");
    terminal.line("echo code=$?");
    terminal.until("code=130");

    terminal.clear();
    terminal.line(&format!("{meow} contacts; echo code=$?"));
    terminal.until("Password:");
    terminal.line("typed secret");
    terminal.until("code=0");
}
