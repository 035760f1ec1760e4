//! libFuzzer feeds [`meow_fuzz::segments::machine`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::segments::machine(data);
});
