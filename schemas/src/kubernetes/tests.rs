use proptest::prelude::*;

use super::*;

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

fn pod() -> Vec<u8> {
    let label = [field(1, b"app"), field(2, b"web")].concat();
    let metadata = [
        field(1, b"web-0"),
        field(3, b"shop"),
        field(5, b"6f1c"),
        field(11, &label),
    ]
    .concat();
    let raw = [field(1, &metadata), field(2, b"\x0a\x00")].concat();
    let type_meta = [field(1, b"v1"), field(2, b"Pod")].concat();
    let unknown = [
        field(1, &type_meta),
        field(2, &raw),
        field(3, b""),
        field(4, b""),
    ]
    .concat();
    [b"k8s\0".to_vec(), unknown].concat()
}

fn expected(api_version: &str, kind: &str) -> Object {
    Object {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
        uid: "6f1c".to_owned(),
        labels: 1,
    }
}

#[test]
fn objects_are_named() {
    assert_eq!(
        Recognised::of(&pod()),
        Some(Recognised::Protobuf(expected("v1", "Pod")))
    );
    let json = br#"{"apiVersion":"example.com/v1","kind":"Shop","metadata":{"name":"web-0",
        "namespace":"shop","uid":"6f1c","labels":{"a":"b"}},"spec":{}}"#;
    let read = Recognised::of(json).unwrap();
    assert_eq!(read.object(), Some(&expected("example.com/v1", "Shop")));
    assert!(matches!(read, Recognised::Json(_, json) if json.get("spec").is_some()));
}

#[test]
fn encrypted_values_name_their_key_and_nothing_more() {
    let read = Recognised::of(b"k8s:enc:aescbc:v1:key-2:\x00\xffsecret:more");
    let Some(Recognised::Encrypted(read)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(
        [read.provider, read.version, read.key],
        ["aescbc", "v1", "key-2"]
    );
    for value in [
        &b"k8s:enc:"[..],
        b"k8s:enc:aescbc:v1",
        b"k8s:enc:aescbc:v1:key",
        b"k8s:enc:\xff:v1:k:x",
    ] {
        assert_eq!(Recognised::of(value), None);
    }
}

#[test]
fn what_is_none_of_kubernetes_is_left_alone() {
    for value in [
        &b""[..],
        b"hello",
        b"{",
        b"{}",
        b"[1]",
        b"k8s\0",
        b"k8s\0\xff",
        br#"{"kind":"x"}"#,
    ] {
        assert_eq!(Recognised::of(value), None, "{value:?}");
    }
    let deep = [b"{\"a\":".repeat(10_000), b"1".to_vec()].concat();
    assert_eq!(Recognised::of(&deep), None);
}

proptest! {
    #[test]
    fn never_panics(start in prop::sample::select(vec!["", "k8s\0", "k8s:enc:", "{"]),
        rest in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Recognised::of(&[start.as_bytes(), &rest].concat());
    }

    #[test]
    fn a_cut_or_changed_object_is_another_or_none(cut in 0usize..100, at in 4usize..60, bit in 0u8..8) {
        let mut value = pod();
        let _ = Recognised::of(&value[..cut.min(value.len())]);
        let at = at.min(value.len() - 1);
        value[at] ^= 1 << bit;
        let _ = Recognised::of(&value);
    }
}
