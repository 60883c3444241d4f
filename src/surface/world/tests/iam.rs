use super::*;

const PRESENT: Seen = Seen::Present { ours: None };

fn plain() -> [Binding; 6] {
    [
        attach("role", "OpsOnCall", READ_ONLY),
        attach("user", "jdoe", "attach:arn:aws:iam::123456789012:policy/Ops"),
        attach("group", "Auditors", READ_ONLY),
        member("Auditors", "jdoe"),
        assign("PowerUser", "user:jdoe@corp.example"),
        assign("PowerUser", "group:Cloud Operators"),
    ]
}

#[tokio::test]
async fn grants_and_revocations_leave_no_trace() {
    for binding in plain() {
        let world = small();
        let before = world.state().unwrap();
        assert_eq!(seen(&world, &binding).await, Seen::Absent, "{binding}");
        assert_eq!(act(&world, Verb::Grant, &binding).await, Fate::Done, "{binding}");
        assert_eq!(seen(&world, &binding).await, PRESENT, "{binding}");
        assert_ne!(world.state().unwrap(), before, "{binding}");
        assert_eq!(act(&world, Verb::Grant, &binding).await, Fate::Standing, "{binding}: whose it is the ledger knows");
        assert_eq!(act(&world, Verb::Renew, &binding).await, Fate::Done, "{binding}");
        assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Done, "{binding}");
        assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Absent, "{binding}: idempotent");
        assert_eq!(world.state().unwrap(), before, "{binding}");
        assert_eq!(act(&world, Verb::Renew, &binding).await, Fate::Absent, "{binding}");
        assert_eq!(seen(&world, &binding).await, Seen::Absent, "{binding}: a renewal gives nothing back");
    }
}

#[tokio::test]
async fn what_is_there_at_our_first_write_is_standing_whatever_was_seen_before() {
    for binding in
        [attach("user", "boss", READ_ONLY), member("Auditors", "boss"), assign("PowerUser", "user:boss@corp.example")]
    {
        let world = small();
        let before = world.state().unwrap();
        for looked in [Seen::Unread, Seen::Absent] {
            let step = Step { before: looked, ..step(Verb::Grant, &binding) };
            assert_eq!(fate(&world, step).await, Fate::Standing, "{binding}");
        }
        assert_eq!(world.state().unwrap(), before, "{binding}");
    }
}

#[tokio::test]
async fn a_policy_written_by_its_bare_name_is_the_same_policy() {
    let (world, binding) = (small(), attach("user", "boss", READ_ONLY));
    assert_eq!(seen(&world, &binding).await, PRESENT);
    assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Done);
    assert_eq!(line(&world, "user/boss"), "123456789012/user/boss: -");
}

#[tokio::test]
async fn what_is_missing_is_named_and_a_twin_is_shown() {
    let world = small();
    let before = world.state().unwrap();
    for (binding, name, twin) in [
        (attach("role", "opsoncall", READ_ONLY), "`opsoncall`", Some("`OpsOnCall`")),
        (
            attach("role", "OpsOnCall", "attach:arn:aws:iam::aws:policy/readonlyaccess"),
            "`readonlyaccess`",
            Some("`ReadOnlyAccess`"),
        ),
        (attach("role", "OpsOnCall", "attach:arn:aws:iam::aws:policy/Nope"), "`Nope`", None),
        (attach("user", "nobody", READ_ONLY), "`nobody`", None),
        (attach("group", "Nobodies", READ_ONLY), "`Nobodies`", None),
        (member("auditors", "jdoe"), "`auditors`", Some("`Auditors`")),
        (member("Auditors", "JDoe"), "`JDoe`", Some("`jdoe`")),
        (assign("poweruser", "user:jdoe@corp.example"), "`poweruser`", Some("`PowerUser`")),
        (assign("PowerUser", "user:nobody@corp.example"), "`nobody@corp.example`", None),
        (assign("PowerUser", "group:cloud operators"), "`cloud operators`", Some("`Cloud Operators`")),
        (Binding::new("permission-set", "999999999999", "PowerUser", "user:jdoe@corp.example"), "`999999999999`", None),
    ] {
        let (kind, detail) = failed(act(&world, Verb::Grant, &binding).await);
        assert_eq!(kind, TroubleKind::Gone, "{binding}");
        assert!(detail.contains(name), "{binding}: {detail}");
        assert_eq!(detail.contains("spelled"), twin.is_some(), "{binding}: {detail}");
        assert!(detail.contains(twin.unwrap_or_default()), "{binding}: {detail}");
    }
    assert_eq!(world.state().unwrap(), before);
}

#[tokio::test]
async fn a_missing_place_is_blind_and_its_revocation_stays_owed() {
    let world = small();
    for binding in [attach("role", "Gone", READ_ONLY), member("Gone", "jdoe"), assign("Gone", "user:jdoe@corp.example")]
    {
        assert_eq!(blind(seen(&world, &binding).await), TroubleKind::Gone, "{binding}");
        assert_eq!(failed(act(&world, Verb::Revoke, &binding).await).0, TroubleKind::Gone, "{binding}");
    }
    // The place is there and lists who has the access: nobody of that name.
    for binding in [member("Auditors", "nobody"), assign("PowerUser", "user:nobody@corp.example")] {
        assert_eq!(seen(&world, &binding).await, Seen::Absent, "{binding}");
        assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Absent, "{binding}");
    }
}

#[tokio::test]
async fn quotas_hold() {
    let world = small();
    let filled = world.edit(|state| {
        let names = || (0..10).map(|number| Text::from(format!("n{number}")));
        let account = state.accounts.get_mut("123456789012").unwrap();
        account.roles.get_mut("OpsOnCall").unwrap().policies = names().collect();
        account.users.get_mut("jdoe").unwrap().groups = names().collect();
    });
    filled.unwrap();
    for binding in [attach("role", "OpsOnCall", READ_ONLY), member("Auditors", "jdoe")] {
        let (kind, detail) = failed(act(&world, Verb::Grant, &binding).await);
        assert_eq!(kind, TroubleKind::Denied, "{binding}");
        assert!(detail.contains("quota"), "{detail}");
    }
}
