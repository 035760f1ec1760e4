//! libFuzzer feeds [`meow_fuzz::cards::card`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::cards::card(data);
});
