//! libFuzzer's way into [`starling_fuzz::overlay_datagram`].
#![no_main]
#![allow(unsafe_code, missing_docs)] // the macro's

libfuzzer_sys::fuzz_target!(|data: &[u8]| starling_fuzz::overlay_datagram(data));
