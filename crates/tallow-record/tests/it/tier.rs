//! Names of tiers.

use tallow_record::Tier;

#[test]
fn names_are_the_same_everywhere() {
    for tier in Tier::ALL {
        assert_eq!(tier.to_string().parse::<Tier>().unwrap(), tier);
        let json = serde_json::to_value(tier).unwrap();
        assert_eq!(json, tier.as_str());
        assert_eq!(serde_json::from_value::<Tier>(json).unwrap(), tier);
    }
    assert!(Tier::ALL.is_sorted());
    assert_eq!(format!("{:>6}", Tier::Full), "  full");
    let message = "Smoke".parse::<Tier>().unwrap_err().to_string();
    assert_eq!(
        message,
        "unknown tier `Smoke`; expected smoke, standard or full"
    );
}
