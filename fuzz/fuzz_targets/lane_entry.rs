//! libFuzzer feeds [`meow_fuzz::lanes::lane_entry`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::lanes::lane_entry(data);
});
