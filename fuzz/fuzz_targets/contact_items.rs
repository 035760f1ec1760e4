//! libFuzzer feeds [`meow_fuzz::contacts::contact_items`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::contacts::contact_items(data);
});
