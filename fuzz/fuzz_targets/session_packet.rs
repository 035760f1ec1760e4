//! libFuzzer feeds [`meow_fuzz::sessions::packet`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::sessions::packet(data);
});
