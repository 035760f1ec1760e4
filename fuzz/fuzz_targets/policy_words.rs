//! libFuzzer feeds [`meow_fuzz::text::policy_words`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::text::policy_words(data);
});
