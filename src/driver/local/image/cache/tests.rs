//! Several at once, killed, old and unused.

use std::sync::{
    Arc, Barrier,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::base::fault::Kind;

fn fill(root: &OwnedFd) -> Outcome<About> {
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let made = rustix::fs::openat(root, "file", flags, Mode::from_raw_mode(0o644));
    made.map(|_| About::default()).map_err(|error| Fault::io("filling", &error.into()))
}

fn names(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir.join(IMAGES)).unwrap();
    let mut names: Vec<_> =
        listed.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn two_at_once_unpack_once() {
    let temp = tempfile::tempdir().unwrap();
    let (count, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(4)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (dir, count, start) = (temp.path().to_owned(), count.clone(), start.clone());
            std::thread::spawn(move || {
                let cache = Cache::of(&dir).unwrap();
                start.wait();
                let (root, _) = cache
                    .make("tar-a", |root| {
                        count.fetch_add(1, Ordering::SeqCst);
                        fill(root)
                    })
                    .unwrap();
                assert!(root.join("file").exists());
            })
        })
        .collect();
    threads.into_iter().for_each(|it| it.join().unwrap());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(names(temp.path()), [KNOWN, "tar-a"]);
}

#[test]
fn what_was_cut_short_is_not_taken_for_whole() {
    let temp = tempfile::tempdir().unwrap();
    let cache = Cache::of(temp.path()).unwrap();
    let dir = temp.path().join(IMAGES);
    // Whoever was killed left half of it.
    let left = dir.join(format!("{UNFINISHED}tar-a"));
    fs::create_dir_all(left.join("root/half")).unwrap();
    assert!(cache.find("tar-a").is_none());
    let (root, _) = cache.make("tar-a", fill).unwrap();
    assert!(root.join("file").exists() && !root.join("half").exists());
    // One that fails leaves nothing.
    let fault = cache.make("tar-b", |root| fill(root).and(Err(Fault::invalid("bad")))).unwrap_err();
    assert_eq!(fault.kind(), Kind::Invalid);
    assert_eq!(names(temp.path()), [KNOWN, "tar-a"]);
    // One whose description is gone is made again.
    fs::write(dir.join("tar-a").join(ABOUT), "{").unwrap();
    cache.make("tar-a", fill).unwrap();
    assert!(cache.find("tar-a").is_some());
}

#[test]
fn unused_ones_go_when_they_are_many_or_old_and_used_ones_stay() {
    let temp = tempfile::tempdir().unwrap();
    prune(temp.path(), || Ok(HashSet::new())).unwrap();
    let cache = Cache::of(temp.path()).unwrap();
    let age = |key: &str, seconds: i64| {
        let dir = open(&temp.path().join(IMAGES).join(key)).unwrap();
        let mut times = now();
        times.last_modification.tv_sec -= seconds;
        futimens(dir, &times).unwrap();
    };
    let old = IMAGE_UNUSED_AGE_MAX.as_secs().cast_signed() + 60;
    for number in 0..IMAGES_UNUSED_MAX + 3 {
        let key = format!("tar-{number:02}");
        cache.make(&key, fill).unwrap();
        age(&key, 10 * i64::try_from(number).unwrap());
    }
    for key in ["used", "old"] {
        cache.make(key, fill).unwrap();
        age(key, old);
    }
    fs::create_dir(temp.path().join(IMAGES).join(format!("{UNFINISHED}x"))).unwrap();
    fs::write(temp.path().join(IMAGES).join(KNOWN).join("a"), "old").unwrap();
    fs::write(temp.path().join(IMAGES).join(KNOWN).join("b"), "used").unwrap();
    let in_use = || Ok(HashSet::from(["used".to_owned()]));
    // Not while somebody is about to use one.
    prune(temp.path(), in_use).unwrap();
    assert!(names(temp.path()).contains(&"old".to_owned()));
    drop(cache);
    // Nor when it can't be told what is used.
    prune(temp.path(), || Err(Fault::failed("unreadable"))).unwrap_err();
    assert!(names(temp.path()).contains(&"old".to_owned()));
    prune(temp.path(), in_use).unwrap();
    let mut left = names(temp.path());
    left.retain(|it| !it.starts_with('.'));
    let mut wanted: Vec<_> = (0..IMAGES_UNUSED_MAX).map(|it| format!("tar-{it:02}")).collect();
    wanted.push("used".to_owned());
    assert_eq!(left, wanted);
    let known = fs::read_dir(temp.path().join(IMAGES).join(KNOWN)).unwrap();
    assert_eq!(known.map(|it| it.unwrap().file_name()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_file_is_known_again_as_long_as_it_is_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let cache = Cache::of(temp.path()).unwrap();
    let path = temp.path().join("file");
    fs::write(&path, "one").unwrap();
    let file = File::open(&path).unwrap();
    // Too fresh: what is written in the same moment would not be seen.
    cache.remember(&file, &file.metadata().unwrap(), "tar-a");
    assert_eq!(cache.known(&file), None);
    fs::write(cache.mark(&file.metadata().unwrap()), "tar-a").unwrap();
    assert_eq!(cache.known(&file).as_deref(), Some("tar-a"));
    fs::write(&path, "two!").unwrap();
    assert_eq!(cache.known(&File::open(&path).unwrap()), None);
}
