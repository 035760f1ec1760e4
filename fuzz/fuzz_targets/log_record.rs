//! libFuzzer feeds [`meow_fuzz::store::log_record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::store::log_record(data);
});
