use super::*;

#[test]
fn a_directory_appears_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("deep/data");
    let staging = Staging::for_directory(&target).unwrap();
    fs::create_dir(staging.path().join("member")).unwrap();
    drop(staging);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

    let staging = Staging::for_directory(&target).unwrap();
    fs::create_dir(staging.path().join("member")).unwrap();
    staging.commit_directory().unwrap();
    assert!(target.join("member").is_dir());
    assert_eq!(fs::read_dir(place.path().join("deep")).unwrap().count(), 1);
    assert_eq!(
        Staging::for_directory(&target).unwrap_err().kind(),
        Kind::Refused
    );
}

#[test]
fn every_directory_that_got_a_new_one_is_synced() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let staging = Staging::for_directory(&place.join("a/b/c/data")).unwrap();
    let holders: Vec<_> = staging.above.holders().collect();
    assert_eq!(holders, [&*place.join("a/b"), &place.join("a"), place]);
    staging.above.sync().unwrap();
    let relative = MadeAbove(vec![PathBuf::from("deep")]);
    assert_eq!(relative.holders().collect::<Vec<_>>(), [Path::new(".")]);
}

#[test]
fn what_cannot_be_made_durable_is_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("new/data");
    let mut staging = Staging::for_directory(&target).unwrap();
    staging.parent = place.path().join("absent");
    assert!(staging.commit_directory().is_err());
    let file = place.path().join("new/snapshot.db");
    let mut staging = Staging::for_file(&file).unwrap();
    staging.parent = place.path().join("absent");
    let built = staging.path().join("db");
    fs::write(&built, b"new").unwrap();
    assert!(staging.commit_file(&built).is_err());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_refused_as_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (target, link) = (place.path().join("empty"), place.path().join("link"));
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for directory in [true, false] {
        let error = refuse_unless_free(&link, directory).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}

#[test]
fn what_a_killed_restore_left_is_removed_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("data");
    let names = [
        ".data.revkeep-partial-abc123",
        ".other.revkeep-partial-abc123",
        ".data.partial",
    ];
    for name in names {
        fs::create_dir_all(place.path().join(name).join("member/snap")).unwrap();
    }
    let file = place.path().join(".data.revkeep-partial-file");
    fs::write(&file, b"mine").unwrap();
    let staging = Staging::for_directory(&target).unwrap();
    assert_eq!(staging.removed(), [place.path().join(names[0])]);
    assert!(!place.path().join(names[0]).exists());
    assert!(place.path().join(names[1]).exists() && place.path().join(names[2]).exists());
    assert!(file.exists());

    // Somebody works in this one.
    let error = Staging::for_directory(&target).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("another restore"), "{error}");
    assert!(staging.path().exists());
    drop(staging);
    assert!(
        Staging::for_directory(&target)
            .unwrap()
            .removed()
            .is_empty()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_root_of_a_file_system_is_refused_before_the_work() {
    let proc = Path::new("/proc");
    let error = refuse_mount_point(proc, &fs::metadata(proc).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("/proc/restored"), "{error}");
}

#[test]
fn an_empty_directory_is_a_target_and_a_file_is_not() {
    let place = tempfile::tempdir().unwrap();
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    Staging::for_directory(&empty)
        .unwrap()
        .commit_directory()
        .unwrap();
    let file = place.path().join("file");
    fs::write(&file, b"mine").unwrap();
    assert_eq!(
        Staging::for_directory(&file).unwrap_err().kind(),
        Kind::Refused
    );
    assert_eq!(Staging::for_file(&file).unwrap_err().kind(), Kind::Refused);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_file_that_appeared_meanwhile_is_not_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("snapshot.db");
    let staging = Staging::for_file(&target).unwrap();
    let built = staging.path().join("db");
    fs::write(&built, b"new").unwrap();
    fs::write(&target, b"old").unwrap();
    assert_eq!(
        staging.commit_file(&built).unwrap_err().kind(),
        Kind::Refused
    );
    assert_eq!(fs::read(&target).unwrap(), b"old");
}

#[test]
fn files_are_synced_before_the_directories_that_name_them() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    fs::create_dir_all(place.join("a/b")).unwrap();
    for file in ["one", "a/two", "a/b/three"] {
        fs::write(place.join(file), "x").unwrap();
    }
    let mut synced = Vec::new();
    sync_tree(place, &mut |path| {
        synced.push(path.strip_prefix(place).unwrap().to_path_buf());
        sync(path)
    })
    .unwrap();
    let at = |name: &str| synced.iter().position(|path| path == Path::new(name));
    for (file, folder) in [
        ("one", ""),
        ("a/two", "a"),
        ("a/b/three", "a/b"),
        ("a/b", "a"),
    ] {
        assert!(at(file).is_some() && at(file) < at(folder), "{synced:?}");
    }
}

#[test]
fn where_there_are_no_hard_links_nothing_is_replaced_either() {
    let place = tempfile::tempdir().unwrap();
    let (built, target) = (place.path().join("built"), place.path().join("target"));
    for place_file in [move_unless_there, copy_unless_there] {
        fs::write(&built, "new").unwrap();
        fs::write(&target, "theirs").unwrap();
        let error = place_file(&built, &target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        fs::remove_file(&target).unwrap();
        place_file(&built, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        fs::remove_file(&target).unwrap();
    }
}
