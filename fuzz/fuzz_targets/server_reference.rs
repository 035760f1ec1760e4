//! libFuzzer feeds [`meow_fuzz::text::server_reference`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::text::server_reference(data);
});
