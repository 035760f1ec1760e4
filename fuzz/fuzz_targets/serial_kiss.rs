//! libFuzzer feeds [`meow_fuzz::serial::kiss`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::serial::kiss(data);
});
