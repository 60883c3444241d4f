//! Names that are no grant's, in the branch and in a working tree.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use super::{GROUP, Site, grant};

/// What no grant file is called freezes nothing after the merge, and what would freeze is found before it.
#[test]
fn lint_and_the_branch_agree_on_odd_names() {
    let (site, good) = (Site::new(), grant("8h", GROUP));
    site.fine(&["init"]);
    let grants = site.path("work/grants");
    fs::create_dir_all(&grants).unwrap();
    for name in [&b"README.md"[..], b"readme.md", b"Icon\r", b"J\xf6rg.txt"] {
        fs::write(grants.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let lint = || site.run(&["lint", grants.to_str().unwrap()]);
    let done = lint();
    assert!(done.code == 0 && done.out.contains("0 errors, 4 warnings"), "{done}");
    site.merge("jdoe-one", &good);
    site.fine(&["apply"]);
    assert_eq!(site.count("accept", ""), 1, "odd names beside it froze it");
    // A grant file whose name is no id, and one that is not UTF-8: told with what helps, and nothing else waits for them.
    fs::write(grants.join("Jdoe Two.yaml"), &good).unwrap();
    fs::write(grants.join(OsStr::from_bytes(b"J\xf6rg.yaml")), &good).unwrap();
    let done = lint();
    assert!(done.code == 1 && done.out.contains("2 errors"), "{done}");
    site.merge("jdoe-three", &good);
    let plan = site.run(&["plan"]);
    assert!(plan.out.contains("Jdoe Two.yaml") && plan.out.contains("rename the file"), "{plan}");
    assert!(!plan.out.contains("merge a new commit"), "{plan}");
    site.run(&["apply"]);
    assert_eq!(site.count("accept", ""), 2);
    // Two grant files that are one where case does not count: the branch would be refused whole, and lint says so.
    fs::write(grants.join("JDOE-one.yaml"), &good).unwrap();
    let done = lint();
    assert!(done.code == 1 && done.out.contains("nothing of such a commit is accepted"), "{done}");
    // Names that no honest git makes, on this file system.
    fs::remove_file(grants.join("JDOE-one.yaml")).unwrap();
    fs::write(grants.join("GIT~1"), "x").unwrap();
    let done = lint();
    assert!(done.code == 1 && done.out.contains("is `.git`"), "{done}");
}

#[test]
fn a_grants_folder_by_another_name_is_no_empty_one() {
    let (site, good) = (Site::new(), grant("8h", GROUP));
    site.fine(&["init"]);
    fs::create_dir_all(site.path("work/Grants")).unwrap();
    fs::write(site.path("work/Grants/jdoe-one.yaml"), &good).unwrap();
    site.push();
    for arguments in [&["plan"][..], &["doctor"], &["lint", "work/grants"]] {
        fs::remove_dir_all(site.path("work/grants")).unwrap_or_default();
        let done = site.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done}");
        assert!(format!("{done}").contains("other upper and lower case"), "{arguments:?}: {done}");
    }
}
