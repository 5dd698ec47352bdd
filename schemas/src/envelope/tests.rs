use proptest::prelude::*;

use super::*;

fn identity() -> Identity {
    Identity {
        kind: Kind::Gap,
        vault: VaultId([7; 16]),
        cluster: Some(ClusterName::new("prod").unwrap()),
        timeline: Some(TimelineId(3)),
        first: Revision(10),
        last: Revision(20),
        level: 0,
        name: "00000000000000ff".into(),
    }
}

#[test]
fn what_was_sealed_opens() {
    let object = seal(&identity(), "test 1", b"body");
    assert_eq!(open(&object, &identity()).unwrap(), "body");
    let (envelope, body) = open_any(&object, Kind::Gap).unwrap();
    assert_eq!(
        (envelope.identity, envelope.writer.as_str()),
        (identity(), "test 1")
    );
    assert_eq!(body, "body");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_detected() {
    let object = seal(&identity(), "test 1", b"some body");
    for len in 0..object.len() {
        assert!(
            open(&object.slice(..len), &identity()).is_err(),
            "cut to {len}"
        );
    }
    for bit in 0..object.len() * 8 {
        let mut damaged = object.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&damaged.into(), &identity()).is_err(), "bit {bit}");
    }
}

#[test]
fn no_object_stands_in_for_another() {
    let object = seal(&identity(), "test 1", b"body");
    let asked = [
        Identity {
            kind: Kind::Pin,
            ..identity()
        },
        Identity {
            vault: VaultId([8; 16]),
            ..identity()
        },
        Identity {
            cluster: Some(ClusterName::new("dev").unwrap()),
            ..identity()
        },
        Identity {
            timeline: Some(TimelineId(4)),
            ..identity()
        },
        Identity {
            first: Revision(11),
            ..identity()
        },
        Identity {
            last: Revision(21),
            ..identity()
        },
        Identity {
            level: 1,
            ..identity()
        },
        Identity {
            name: "other".into(),
            ..identity()
        },
    ];
    for asked in asked {
        assert!(open(&object, &asked).is_err(), "{asked:?}");
    }
}

#[test]
fn a_newer_version_says_so() {
    let mut object = seal(&identity(), "test 1", b"body").to_vec();
    object[8] = 2;
    let error = open(&object.into(), &identity()).unwrap_err();
    assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut framed = MAGIC.to_vec();
        framed.extend_from_slice(&[1, 0, 6, 0]);
        framed.extend_from_slice(&bytes);
        prop_assert!(open(&bytes.into(), &identity()).is_err());
        prop_assert!(open(&framed.into(), &identity()).is_err());
    }
}
