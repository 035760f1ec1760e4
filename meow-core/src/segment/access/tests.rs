//! Who goes when: duty cycle, bursts, waits, and a free channel.

use super::*;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Attack 42: whatever is asked for and whenever, no period holds more airtime than the duty cycle allows.
fn a42_duty_cycle_is_never_exceeded(asks: &[(u64, usize)]) -> Result<(), TestCaseError> {
    let mut rules = AccessRules::new(10_000);
    (rules.duty_ppm, rules.period, rules.preamble) = (Some(20_000), Duration::from_secs(60), ms(5));
    let mut access = Access::new(rules.clone(), 1);
    let (mut now, mut log) = (Duration::ZERO, Vec::new());
    for (pause, bytes) in asks {
        now += ms(*pause);
        while let Turn::At(at) = access.turn(now, *bytes, false) {
            prop_assert!(at > now, "asked to wait for the past");
            now = at;
        }
        log.push((now, rules.airtime(*bytes)));
        access.sent(now, *bytes, false);
    }
    let budget = rules.period.mul_f64(0.02);
    for (start, _) in &log {
        let within = log.iter().filter(|(at, _)| at >= start && *at < *start + rules.period);
        let used: Duration = within.map(|(_, airtime)| *airtime).sum();
        prop_assert!(used <= budget, "{used:?} within a period");
    }
    Ok(())
}

proptest! {
    #[test]
    fn a42_duty_cycle(asks in prop::collection::vec((0u64..30_000, 1usize..256), 1..300)) {
        a42_duty_cycle_is_never_exceeded(&asks)?;
    }
}

/// Attack 42: who begins anew, again and again, goes on counting where he stopped; by small steps too.
#[test]
fn a42_a_station_that_begins_anew_has_no_more_airtime() {
    let mut rules = AccessRules::new(8_000);
    (rules.duty_ppm, rules.period) = (Some(100_000), Duration::from_secs(60));
    let mut access = Access::new(rules.clone(), 1);
    let (mut now, mut log) = (ms(500), Vec::new());
    for n in 0..1000u64 {
        while let Turn::At(at) = access.turn(now, 100, false) {
            now = at;
        }
        log.push(now);
        now = access.sent(now, 100, false) + ms(n % 7 * 100);
        assert!(access.spent().count() <= 62);
        // Of the past the new one knows when it was, on its own clock.
        let past: Vec<_> = access.spent().copied().collect();
        access = Access::new(rules.clone(), n).resumed(now, past);
    }
    let most =
        log.iter().map(|start| log.iter().filter(|at| (*start..*start + rules.period).contains(at)).count());
    // A tenth of 60 s, but for the last tenth of that, which is for short frames; and all of it is used.
    assert_eq!(most.max(), Some(54));
}

#[test]
fn the_last_tenth_is_for_short_frames() {
    let mut rules = AccessRules::new(8_000);
    (rules.duty_ppm, rules.period) = (Some(100_000), Duration::from_secs(10));
    let mut access = Access::new(rules, 1);
    let mut now = Duration::ZERO;
    while access.turn(now, 100, false) == Turn::Now {
        now = access.sent(now, 100, false);
    }
    assert_eq!(now, ms(900));
    assert!(matches!(access.turn(now, 100, false), Turn::At(at) if at >= Duration::from_secs(10)));
    assert_eq!(access.turn(now, 10, false), Turn::Now);
}

#[test]
fn who_hears_somebody_waits_and_bursts_end() {
    let mut rules = AccessRules::new(8_000);
    rules.listen = Some(ms(20));
    let mut access = Access::new(rules, 7);
    access.heard(ms(100), 10);
    let Turn::At(at) = access.turn(ms(100), 100, false) else { panic!("talks into another's frame") };
    assert!(at >= ms(130));
    // Heard again in the meantime: drawn anew, from then on.
    access.heard(at, 10);
    let Turn::At(again) = access.turn(at, 100, false) else { panic!("talks into another's frame") };
    assert!(again >= at + ms(30));
    let mut now = again;
    let mut burst = 0;
    while access.turn(now, 100, false) == Turn::Now {
        now = access.sent(now, 100, false);
        burst += 1;
    }
    assert_eq!(burst, BURST);
}

fn listening() -> AccessRules {
    let mut rules = AccessRules::new(8_000);
    (rules.listen, rules.slot) = (Some(ms(20)), ms(10));
    rules
}

#[test]
fn an_answer_goes_before_whatever_else_waits() {
    for seed in 0..50 {
        let mut access = Access::new(listening(), seed);
        access.heard(ms(100), 10);
        assert_eq!(access.turn(ms(100), 10, true), Turn::At(ms(120)));
        let mut access = Access::new(listening(), seed);
        access.heard(ms(100), 10);
        assert!(matches!(access.turn(ms(100), 10, false), Turn::At(at) if at >= ms(130)));
    }
}

/// Others are on the air again one slot after each frame: what was drawn runs on in between.
#[test]
fn whoever_waits_is_next_however_busy_the_channel_is() {
    for seed in 0..50 {
        let mut access = Access::new(listening(), seed);
        let (mut now, mut rounds) = (ms(100), 0);
        access.heard(now, 10);
        while access.turn(now, 100, false) != Turn::Now && access.turn(now + ms(30), 100, false) != Turn::Now
        {
            // Ten bytes, from a slot after the silence on.
            now += ms(40);
            access.heard(now, 10);
            rounds += 1;
        }
        assert!(rounds < SLOTS + CROWD_SLOTS, "{rounds} frames of others");
    }
}

/// How long a frame would have to wait.
fn waits(access: &mut Access, now: Duration) -> Duration {
    match access.turn(now, 100, false) {
        Turn::Now => Duration::ZERO,
        Turn::At(at) => at - now,
    }
}

/// A channel on which frames of this many other stations were heard until now, each a tenth of a second after the one before.
fn crowded(others: u64, seed: u64) -> (Access, Duration) {
    let mut access = Access::new(listening(), seed);
    (1..=others).for_each(|n| access.heard(ms(n * 100), 10));
    (access, ms(others * 100))
}

#[test]
fn who_shares_the_channel_with_many_waits_longer() {
    let mean = |others: u64| {
        let waits = (0..200).map(|seed| {
            let (mut access, now) = crowded(others, seed);
            waits(&mut access, now)
        });
        waits.sum::<Duration>() / 200
    };
    assert!(mean(0) < ms(80) && mean(10) > ms(150) && mean(1000) < ms(1500));
}

#[test]
fn a_channel_that_was_silent_for_longer_than_anybody_waits_is_taken_at_once() {
    for seed in 0..50 {
        for others in [0, 1, 10] {
            // Silence, and every slot of those that heard as many.
            let slots = u64::from(SLOTS) + others * u64::from(CROWD_SLOTS);
            let (mut access, now) = crowded(others, seed);
            assert!(waits(&mut access, now + ms(20 + slots * 10)) >= ms(10));
            let (mut access, now) = crowded(others, seed);
            assert_eq!(waits(&mut access, now + ms(21 + slots * 10)), Duration::ZERO);
        }
        // Others may be on the air who will be heard once their frame is over.
        let mut rules = listening();
        rules.unheard = ms(500);
        let mut access = Access::new(rules.clone(), seed);
        access.heard(ms(100), 10);
        assert!(waits(&mut access, ms(620)) >= ms(10));
        let mut access = Access::new(rules, seed);
        access.heard(ms(100), 10);
        assert_eq!(waits(&mut access, ms(621)), Duration::ZERO);
    }
}

#[test]
fn who_was_not_answered_takes_the_next_turn_like_others() {
    for seed in 0..50 {
        let (mut access, now) = crowded(1, seed);
        let now = now + Duration::from_secs(60);
        assert_eq!(access.turn(now, 100, false), Turn::Now);
        let end = access.sent(now, 100, false);
        let later = end + Duration::from_secs(60);
        assert!(waits(&mut access, later) >= ms(10), "the frame may have met another one");
        access.heard(later, 10);
        let later = later + Duration::from_secs(60);
        access.drawn = None;
        assert_eq!(waits(&mut access, later), Duration::ZERO);
        // Nothing is expected after an answer.
        let later = access.sent(later, 10, true) + Duration::from_secs(60);
        assert_eq!(waits(&mut access, later), Duration::ZERO);
    }
}

#[test]
fn who_waits_already_goes_on_waiting_when_the_channel_falls_silent() {
    let mut moments = std::collections::HashSet::new();
    for seed in 0..50 {
        let (mut access, now) = crowded(60, seed);
        let first = now + waits(&mut access, now);
        assert_eq!(access.turn(first - ms(1), 100, false), Turn::At(first));
        moments.insert(first);
    }
    assert!(moments.len() > 40, "{} moments for 50 stations", moments.len());
}

#[test]
fn those_who_fell_silent_long_ago_count_no_more() {
    for seed in 0..50 {
        let (mut access, now) = crowded(60, seed);
        let now = now + Duration::from_secs(60);
        assert_eq!(access.turn(now, 100, false), Turn::Now);
        let end = access.sent(now, 100, false);
        access.heard(end + ms(30), 10);
        assert!(waits(&mut access, end + ms(30)) <= ms(20 + 12 * 10));
        // Or somebody else breaks the silence.
        let (mut access, now) = crowded(60, seed);
        let now = now + Duration::from_secs(60);
        access.heard(now, 10);
        assert!(waits(&mut access, now) <= ms(20 + 12 * 10));
    }
}
