use super::*;

fn read(bytes: &[u8]) -> Result<(Pickle<'_>, usize)> {
    Pickle::read(bytes, &Limits::default(), |module, _| module == "torch")
}

fn found(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn reads_values() {
    // pickle.dumps({"a": (1, -2, 300), "b": [1.5, None, True]}, 2) and four bytes that follow.
    let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xffM,\x01\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04(G?\xf8\x00\x00\x00\x00\x00\x00N\x88eu.rest";
    let (pickle, length) = read(bytes).unwrap();
    assert_eq!(&bytes[length..], b"rest");
    let a = pickle.get(pickle.root, "a").unwrap();
    assert_eq!(
        pickle.sequence(a).unwrap(),
        [Value::Int(1), Value::Int(-2), Value::Int(300)]
    );
    let b = pickle.get(pickle.root, "b").unwrap();
    assert_eq!(
        pickle.sequence(b).unwrap(),
        [Value::Float(1.5), Value::None, Value::Bool(true)]
    );
}

#[test]
fn long_integers() {
    assert_eq!(long(&[]), Value::Int(0));
    assert_eq!(long(&[0xff]), Value::Int(-1));
    assert_eq!(long(&[0xff, 0]), Value::Int(255));
    assert_eq!(long(&[0; 9]), Value::Long(&[0; 9]));
}

#[test]
fn every_prefix_is_an_error_and_no_panic() {
    let bytes = b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05torch\x94\x8c\x04Size\x93\x94)R\x94}\x94(X\x01\0\0\0ak\x01\x87";
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "{end}");
    }
}

#[test]
fn names_that_are_not_allowed_are_errors() {
    for bytes in [
        &b"cos\nsystem\nX\x01\0\0\0a\x85R."[..],
        b"\x8c\x02os\x8c\x06system\x93.",
    ] {
        assert_eq!(
            read(bytes).unwrap_err(),
            Error::Global {
                module: "os".into(),
                name: "system".into()
            }
        );
    }
    assert!(found(b"cos\nsystem\n.").contains("`os.system`"));
}

#[test]
fn a_call_keeps_its_state() {
    // torch.Size(), given the states 1 and 2.
    let bytes = b"ctorch\nSize\n)RK\x01bK\x02b.";
    let (pickle, _) = read(bytes).unwrap();
    assert_eq!(pickle.call(pickle.root), Some((("torch", "Size"), &[][..])));
    assert_eq!(pickle.state(pickle.root), Some(Value::Int(2)));
}

#[test]
fn objects_of_classes_are_opaque() {
    // An object of a class that extends dict: made by NEWOBJ, given an item, then a state. The number beside it is read.
    let bytes = b"\x80\x02]q\x00(cpkg\nHyper\n)\x81X\x01\0\0\0aK\x01s}bK\x05e.";
    let (pickle, _) = Pickle::read(bytes, &Limits::default(), |_, _| true).unwrap();
    let items = pickle.sequence(pickle.root).unwrap();
    assert!(matches!(items, [Value::Call(_), Value::Int(5)]));
    assert_eq!(pickle.globals().collect::<Vec<_>>(), [("pkg", "Hyper")]);
}

#[test]
fn sets_and_calls_with_named_arguments() {
    // [{1, 2}, frozenset({3}), torch.Size(**{})] in protocol 4.
    let bytes = b"\x80\x04](\x8f(K\x01K\x02\x90(K\x03\x91ctorch\nSize\n)}\x92e.";
    let (pickle, _) = read(bytes).unwrap();
    let items = pickle.sequence(pickle.root).unwrap();
    let of = |at: usize| pickle.sequence(items[at]);
    assert_eq!(of(0), Some(&[Value::Int(1), Value::Int(2)][..]));
    assert_eq!(of(1), Some(&[Value::Int(3)][..]));
    assert_eq!(pickle.call(items[2]), Some((("torch", "Size"), &[][..])));
}

#[test]
fn instructions_are_limited() {
    let limits = Limits {
        instructions: 3,
        ..Limits::default()
    };
    assert!(Pickle::read(b"NN.", &limits, |_, _| false).is_ok());
    let error = Pickle::read(b"NNN.", &limits, |_, _| false).unwrap_err();
    assert!(error.to_string().contains("more instructions"), "{error}");
}

#[test]
fn announced_lengths_are_not_believed() {
    assert!(found(b"X\xff\xff\xff\xffab").contains("4294967295 bytes"));
    assert!(found(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab").contains("2 left"));
}

#[test]
fn deep_nesting_and_doubling_cost_what_they_are_long() {
    let mut deep = vec![b'N'];
    deep.resize(1_000_001, 0x85);
    deep.push(b'.');
    assert!(matches!(read(&deep).unwrap().0.root, Value::Tuple(_)));
    // Each round makes a pair of the last pair twice: 2^60 leaves.
    let mut doubling = b"Nq\x00".to_vec();
    for _ in 0..60 {
        doubling.extend(b"h\x00h\x00\x86q\x00");
    }
    doubling.push(b'.');
    assert_eq!(read(&doubling).unwrap().0.items.len(), 60);
}

#[test]
fn marks_and_stack_are_kept_apart() {
    for bytes in [
        &b"."[..],
        b"t.",
        b"N(\x85.",
        b"(.",
        b"N(R.",
        b"NNb",
        b"Na.",
        b"}NNNe.",
        b"}(Nu.",
        b"h\x00.",
        b"q\x00.",
    ] {
        assert!(matches!(read(bytes), Err(Error::Damaged(_))), "{bytes:?}");
    }
}
