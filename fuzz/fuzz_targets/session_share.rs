//! libFuzzer feeds [`meow_fuzz::sessions::share`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::sessions::share(data);
});
