//! libFuzzer feeds [`meow_fuzz::lanes::server_ref`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::lanes::server_ref(data);
});
