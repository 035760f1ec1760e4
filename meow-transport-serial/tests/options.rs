//! Every option of a serial endpoint: what is allowed, what is not, and that it reaches the device.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use meow_core::ErrorKind;
use meow_core::transport::{Endpoint, LinkProfile, Transport};
use meow_transport_serial::Serial;

fn estimate(options: &str) -> meow_core::Result<LinkProfile> {
    let endpoint: Endpoint = format!("serial:///dev/ttyS0?{options}").parse().unwrap();
    Serial::new().estimate(&endpoint)
}

#[test]
fn each_option_has_bounds() {
    for good in [
        "mode=cable",
        "baud=300",
        "baud=4000000",
        "flow=none",
        "flow=hardware",
        "mtu=64",
        "mtu=4096",
        "duty=0.01",
        "duty=1",
        "lbt=0",
        "lbt=10000",
        "mode=kiss&rate=5",
        "mode=kiss&rate=10000000&duty=0.0001",
        "mode=kiss&rate=1200&preamble=0",
        "mode=transparent&rate=1200&preamble=5000",
        "mode=transparent&rate=1200&lbt=0&flow=hardware&baud=9600&mtu=200&duty=0.5&region=EU433",
    ] {
        estimate(good).unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    for bad in [
        "mode=Cable",
        "mode=",
        "baud=299",
        "baud=4000001",
        "baud=fast",
        "flow=xon",
        "flow=rts",
        "mtu=63",
        "mtu=4097",
        "mtu=-64",
        "duty=0.00009",
        "duty=1.01",
        "duty=NaN",
        "duty=1%25",
        "lbt=10001",
        "lbt=0.5",
        "rate=1200",
        "preamble=0",
        "region=EU868",
        "mode=kiss",
        "mode=transparent&preamble=10",
        "mode=kiss&rate=4",
        "mode=kiss&rate=10000001",
        "mode=kiss&rate=1200&preamble=5001",
        "mode=kiss&rate=1200&region=eu868",
        "mode=kiss&rate=1200&region=",
        "parity=even",
    ] {
        let e = estimate(bad).err().unwrap_or_else(|| panic!("{bad} is taken"));
        assert_eq!(e.kind(), ErrorKind::Usage, "{bad}");
    }
}

/// The presets, and that the stricter of preset and `duty` counts.
#[test]
fn a42_each_region_has_its_limit() {
    let of = |options: &str| estimate(&format!("mode=transparent&rate=10000{options}")).unwrap().airtime_ppm;
    assert_eq!(of(""), None);
    for (region, ppm) in [
        ("EU868", Some(10_000)),
        ("EU869", Some(100_000)),
        ("EU433", Some(100_000)),
        ("US915", None), // bounds a frame, not an hour
    ] {
        assert_eq!(of(&format!("&region={region}")), ppm, "{region}");
        assert_eq!(of(&format!("&region={region}&duty=0.005")), Some(5000), "{region}");
        assert_eq!(of(&format!("&region={region}&duty=1")), ppm.or(Some(1_000_000)), "{region}");
    }
    // 256 bytes and the preamble: 459 ms, and 391 ms.
    assert!(estimate("mode=transparent&rate=5000&region=US915").is_err());
    estimate("mode=transparent&rate=6000&region=US915").unwrap();
    // Without a region nobody bounds the frame.
    estimate("mode=transparent&rate=5000").unwrap();
}

/// What the system says of the device while it is open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn baud_and_flow_reach_the_device() {
    use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, tcgetattr};

    let line = meow_testkit::transport::line::Line::new(1).unwrap();
    for (options, baud, hardware) in [
        ("", 115_200, false),
        ("?baud=57600&flow=hardware", 57_600, true),
        ("?baud=9600&flow=none", 9600, false),
        ("?mode=kiss&rate=1200&baud=250000&flow=hardware", 250_000, true),
    ] {
        // Before it is locked: afterwards nobody else may open it.
        let device = std::fs::File::open(line.path(0)).unwrap();
        let link = Serial::new().connect(&line.url(0, options).parse().unwrap()).await.unwrap();
        let set = tcgetattr(&device).unwrap();
        assert_eq!((set.input_speed(), set.output_speed()), (baud, baud), "{options}");
        assert_eq!(set.control_modes.contains(ControlModes::CRTSCTS), hardware, "{options}");
        // 8N1, and every byte is a byte.
        assert_eq!(set.control_modes & ControlModes::CSIZE, ControlModes::CS8);
        assert!(!set.control_modes.intersects(ControlModes::PARENB | ControlModes::CSTOPB));
        assert!(!set.input_modes.intersects(InputModes::IXON | InputModes::IXOFF | InputModes::ICRNL));
        assert!(!set.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert!(!set.output_modes.contains(OutputModes::OPOST));
        drop(link);
    }
}
