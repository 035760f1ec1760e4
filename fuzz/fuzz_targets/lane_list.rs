//! libFuzzer feeds [`meow_fuzz::lanes::lane_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::lanes::lane_list(data);
});
