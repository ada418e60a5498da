//! Depths of the parameters of whole networks; the unit tests compare the rule with timm.

use tallow_models::{Model, registry};

/// The head is deeper than the rest, and no depth is left out.
#[test]
fn small_networks_have_depths_without_gaps() {
    let mut seen = 0;
    for entry in registry().iter() {
        // Large networks have the names of smaller ones.
        if entry.parameters.is_none_or(|count| count > 1_000_000) {
            continue;
        }
        let model = Model::build(entry.name(), &entry.config().unwrap()).unwrap();
        let depths = model.depths();
        assert_eq!(depths.len(), model.store().parameters().len());
        let most = depths.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        for (name, depth) in &depths {
            if name.strip_suffix(".weight") == Some(&model.head()) {
                assert_eq!(*depth, most, "{}", entry.name());
            }
        }
        for depth in 0..most {
            let found = depths.iter().any(|(_, found)| *found == depth);
            assert!(found, "{}: none of depth {depth}", entry.name());
        }
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}
