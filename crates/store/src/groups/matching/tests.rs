use super::*;
use crate::scene::Scene;

#[tokio::test]
async fn a_count_of_members_who_were_changed_meanwhile_is_not_noted_however_early_the_change_began() {
    let scene = Scene::new().await;
    scene
        .run("INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES (1, 'g', 'G')")
        .await;
    let noted = "SELECT matched_known IS NOT NULL FROM headgate.patient_group";
    for (changed, kept) in [(true, "false"), (false, "true")] {
        let groups = scene.store.groups_to_match(Scene::practice()).await.unwrap();
        if changed {
            // Its clock was read before ours, and it was committed after.
            scene
                .run("UPDATE headgate.patient_group SET members_changed_at = members_changed_at + interval '1 us'")
                .await;
        }
        let matched = Matched { known: 0, of: 0, at: groups[0].now };
        scene.store.group_matched(Scene::practice(), &groups[0], matched).await.unwrap();
        assert_eq!(scene.ask(noted).await, kept);
    }
    scene.end().await;
}
