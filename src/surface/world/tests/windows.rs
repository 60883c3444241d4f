use proptest::prelude::*;

use super::*;

const OTHERS: Seen = Seen::Present { ours: None };

fn ours(until: Timestamp) -> Seen {
    Seen::Present { ours: Some(until) }
}

async fn places(world: &World, tags: &[(&str, &[&str])]) -> Vec<String> {
    let any = |values: &[&str]| values.iter().map(|value| Text::from(*value)).collect();
    let selector = Selector {
        surface: "windows-admin".into(),
        scope: "123456789012/us-east-1".into(),
        tags: tags.iter().map(|(key, values)| (Text::from(*key), any(values))).collect(),
    };
    let readings =
        Cloud::World(world.clone()).readers()["windows-admin"].read(std::slice::from_ref(&selector), &[]).await;
    match &readings[..] {
        [Reading::Answer { selector: asked, places: Ok(places), .. }] if *asked == selector => {
            places.iter().map(|place| place.rsplit('/').next().unwrap().to_owned()).collect()
        }
        other => panic!("{other:?} is not one answer"),
    }
}

#[tokio::test]
async fn selectors_match_every_key_with_any_value() {
    let world = small();
    assert_eq!(places(&world, &[("AccessGroup", &["JITAdmins"])]).await, ["i-0abc", "i-0abe"]);
    assert_eq!(places(&world, &[("AccessGroup", &["JITAdmins", "DCs"])]).await, ["i-0abc", "i-0abe", "i-0dc0"]);
    assert_eq!(
        places(&world, &[("AccessGroup", &["OnCall"])]).await,
        ["i-0abd"],
        "stopped, and given access when it runs"
    );
    assert_eq!(places(&world, &[("AccessGroup", &["DCs"]), ("Env", &["prod"])]).await, [""; 0]);
    assert_eq!(places(&world, &[("AccessGroup", &["jitadmins"])]).await, [""; 0]);
}

#[tokio::test]
async fn a_grant_marks_and_a_revocation_takes_sessions_along() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\jdoe"));
    assert_eq!(seen(&world, &binding).await, Seen::Absent);
    assert_eq!(act(&world, Verb::Grant, &binding).await, Fate::Done);
    assert_eq!(seen(&world, &binding).await, ours(end()));
    assert_eq!(
        line(&world, "i-0abc"),
        [
            r"123456789012/us-east-1/i-0abc (checkout-1): CORP\ops, corp\jdoe until 2026-11-20T20:00:00Z",
            r"; sessions: CORP\jdoe, CORP\ops",
        ]
        .concat(),
    );
    assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Done);
    assert_eq!(seen(&world, &binding).await, Seen::Absent);
    assert_eq!(line(&world, "i-0abc"), r"123456789012/us-east-1/i-0abc (checkout-1): CORP\ops; sessions: CORP\ops",);
    assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Absent, "again");
}

#[tokio::test]
async fn the_marker_names_the_grants() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\jdoe"));
    act(&world, Verb::Grant, &binding).await;
    let state = world.state().unwrap();
    let member = state.accounts["123456789012"].hosts["us-east-1"]["i-0abc"].administrators[1].clone();
    let marker = Marker { until: end(), grants: vec!["oncall-1".parse().unwrap()] };
    assert_eq!(member, Member { user: Caseless(r"corp\jdoe".into()), marker: Some(marker) });
}

#[tokio::test]
async fn a_grant_claims_nothing_that_is_there_already_whatever_was_seen_before() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\ops"));
    let before = world.state().unwrap();
    assert_eq!(seen(&world, &binding).await, OTHERS, "compared without case, and not ours");
    for looked in [Seen::Unread, Seen::Absent, OTHERS] {
        let step = Step { before: looked, ..step(Verb::Grant, &binding) };
        assert_eq!(fate(&world, step).await, Fate::Standing);
    }
    assert_eq!(world.state().unwrap(), before);
}

#[tokio::test]
async fn a_renewal_moves_the_end_and_adds_nothing() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\jdoe"));
    let before = world.state().unwrap();
    assert_eq!(act(&world, Verb::Renew, &binding).await, Fate::Absent);
    assert_eq!(world.state().unwrap(), before);
    act(&world, Verb::Grant, &binding).await;
    let later = at("2026-11-20T23:00:00Z");
    let renewal = Step { until: later, ..step(Verb::Renew, &binding) };
    assert_eq!(fate(&world, renewal).await, Fate::Done);
    assert_eq!(seen(&world, &binding).await, ours(later));
    assert_eq!(world.show().unwrap().matches("until").count(), 1, "one membership");
}

#[tokio::test]
async fn what_is_revoked_goes_mark_or_no_mark() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\jdoe"));
    act(&world, Verb::Grant, &binding).await;
    let edited = world.edit(|state| {
        let hosts = state.accounts.get_mut("123456789012").unwrap().hosts.get_mut("us-east-1").unwrap();
        hosts.get_mut("i-0abc").unwrap().administrators.iter_mut().for_each(|member| member.marker = None);
    });
    edited.unwrap();
    assert_eq!(act(&world, Verb::Grant, &binding).await, Fate::Standing, "a grant does not tell whose it is");
    assert_eq!(act(&world, Verb::Revoke, &binding).await, Fate::Done);
    assert_eq!(line(&world, "i-0abc"), r"123456789012/us-east-1/i-0abc (checkout-1): CORP\ops; sessions: CORP\ops");
}

#[tokio::test]
async fn hosts_that_do_not_answer() {
    let world = small();
    let before = world.state().unwrap();
    for (instance, kind, words) in [
        ("i-0abd", TroubleKind::Unreachable, "stopped"),
        ("i-0abe", TroubleKind::Unreachable, "agent"),
        ("i-0dc0", TroubleKind::Denied, "domain controller"),
        ("i-0404", TroubleKind::Gone, "i-0404"),
    ] {
        let binding = admin(instance, r"corp\jdoe");
        assert_eq!(blind(seen(&world, &binding).await), kind, "{instance}");
        for verb in [Verb::Grant, Verb::Renew, Verb::Revoke] {
            let (told, detail) = failed(act(&world, verb, &binding).await);
            assert_eq!(told, kind, "{instance} {verb}");
            assert!(detail.contains(words), "{detail}");
        }
    }
    let gone = admin("i-0abf", r"corp\jdoe");
    assert_eq!(seen(&world, &gone).await, Seen::Gone);
    assert_eq!(act(&world, Verb::Revoke, &gone).await, Fate::Gone);
    assert_eq!(act(&world, Verb::Grant, &gone).await, Fate::Gone);
    assert_eq!(world.state().unwrap(), before, "nothing was done anywhere");
}

#[tokio::test]
async fn an_unknown_domain_user_is_told() {
    let (kind, detail) = failed(act(&small(), Verb::Grant, &admin("i-0abc", r"corp\nobody")).await);
    assert_eq!(kind, TroubleKind::Gone);
    assert_eq!(detail, "the host's domain knows no such user");
}

#[tokio::test]
async fn what_comes_too_late_is_not_done_unless_it_takes_away() {
    let (world, binding) = (small(), admin("i-0abc", r"corp\jdoe"));
    let by = |verb, text| Step { act_by: Some(at(text)), ..step(verb, &binding) };
    for verb in [Verb::Grant, Verb::Renew] {
        let (kind, detail) = failed(fate(&world, by(verb, "2026-11-20T11:59:59Z")).await);
        assert_eq!(kind, TroubleKind::Unreachable);
        assert!(detail.contains("2026-11-20T11:59:59Z"), "{detail}");
    }
    assert_eq!(seen(&world, &binding).await, Seen::Absent);
    assert_eq!(fate(&world, by(Verb::Grant, "2026-11-20T12:00:00Z")).await, Fate::Done);
    assert_eq!(fate(&world, by(Verb::Revoke, "2026-11-20T11:59:59Z")).await, Fate::Done);
    assert_eq!(seen(&world, &binding).await, Seen::Absent);
}

/// Who is an administrator without our marker, and where.
fn foreign(state: &State) -> Vec<(Text, Caseless)> {
    let hosts = state.accounts.values().flat_map(|account| account.hosts.values()).flatten();
    hosts
        .flat_map(|(id, host)| host.administrators.iter().map(move |member| (id.clone(), member)))
        .filter(|(_, member)| member.marker.is_none())
        .map(|(id, member)| (id, member.user.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn foreign_members_stay_whatever_is_granted(
        steps in prop::collection::vec((0..3usize, 0..4usize, 0..3usize, any::<bool>()), 1..60),
        faults in prop::collection::vec((0..5usize, 1..4u32), 0..4),
    ) {
        let world = small();
        let troubles =
            [Failure::Unreachable, Failure::Denied, Failure::Throttled, Failure::Broken, Failure::LostReply];
        world.edit(|state| {
            state.faults.extend(faults.iter().map(|(trouble, times)| Fault {
                surface: None,
                place: None,
                on: On::Any,
                trouble: troubles[*trouble],
                times: std::num::NonZeroU32::new(*times),
            }));
        }).unwrap();
        let before = foreign(&world.state().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (verb, host, user, absent) in steps {
            let verb = [Verb::Grant, Verb::Renew, Verb::Revoke][verb];
            let host = ["i-0abc", "i-0abd", "i-0abf", "i-0dc0"][host];
            let user = [r"corp\jdoe", r"corp\ops", r"corp\asmith"][user];
            // Only what is ours is ever renewed or revoked, and that the ledger knows.
            let verb = if user == r"corp\ops" { Verb::Grant } else { verb };
            let seen = if absent { Seen::Absent } else { Seen::Unread };
            runtime.block_on(fate(&world, Step { before: seen, ..step(verb, &admin(host, user)) }));
            prop_assert_eq!(&foreign(&world.state().unwrap()), &before);
        }
    }
}
