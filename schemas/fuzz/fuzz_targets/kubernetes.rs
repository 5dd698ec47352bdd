#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| revkeep_schemas_fuzz::kubernetes(data));
