//! The house rules that the compiler does not check.
//!
//! Which room may import which, which file alone may read the clock, call out or encrypt, how
//! long a file may be, and whether `tests/traceability.md` names tests that exist. Every rule is a
//! function from text to complaints; each has a test of its own on a sample that breaks it.

#[cfg(test)]
mod architecture {
    mod documents;
    mod interface;
    mod paths;
    mod rooms;
    mod rules;
    mod traceability;
    mod tree;

    use tree::Source;

    /// Fails with every complaint at once.
    fn assert_none(complaints: &[String]) {
        assert!(
            complaints.is_empty(),
            "{} complaint(s):\n{}",
            complaints.len(),
            complaints.join("\n")
        );
    }

    fn complaints(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
        tree::sources("src").iter().flat_map(rule).collect()
    }

    #[test]
    fn rooms_import_in_one_direction() {
        assert_none(&complaints(rooms::imports));
    }

    #[test]
    fn protocol_is_pure_and_synchronous() {
        assert_none(&complaints(rules::purity));
    }

    #[test]
    fn clock_randomness_network_and_ciphers_have_one_home_each() {
        assert_none(&complaints(rules::homes));
    }

    // N24
    #[test]
    fn nothing_hangs_on_the_user_agent() {
        assert_none(&complaints(rules::user_agent));
    }

    // N17
    #[test]
    fn nothing_starts_a_process() {
        assert_none(&complaints(rules::processes));
    }

    #[test]
    fn certificates_are_always_verified() {
        assert_none(&complaints(rules::certificates));
    }

    #[test]
    fn nothing_is_left_undone_or_silenced() {
        assert_none(&complaints(rules::leftovers));
        let tests: Vec<String> = tree::sources("tests")
            .iter()
            .flat_map(rules::leftovers)
            .collect();
        assert_none(&tests);
    }

    #[test]
    fn every_file_says_what_it_is_and_stays_short() {
        assert_none(&complaints(rules::shape));
        let tests: Vec<String> = tree::sources("tests")
            .iter()
            .flat_map(rules::introduction)
            .collect();
        assert_none(&tests);
    }

    #[test]
    fn public_signatures_name_no_http_client_and_no_store() {
        assert_none(&complaints(|source| {
            if interface::is_visible(&source.path) {
                interface::signatures(source)
            } else {
                Vec::new()
            }
        }));
        let front = Source::new("src/lib.rs", &tree::read("src/lib.rs"));
        assert_none(&interface::front(&front));
    }

    #[test]
    fn every_file_is_reached_by_a_mod() {
        let mut sources = tree::sources("src");
        // Other folders of `tests` are packages and suites of their own.
        sources.extend(tree::sources("tests").into_iter().filter(|source| {
            ["tests/api", "tests/architecture"]
                .iter()
                .any(|start| source.path.starts_with(start))
        }));
        assert_none(&rules::orphans(&sources));
    }

    #[test]
    fn top_level_holds_only_what_belongs_there() {
        assert_none(&rules::top_level(&tree::tracked()));
    }

    #[test]
    fn every_requirement_is_listed_once_and_every_named_test_exists() {
        let table = tree::read("tests/traceability.md");
        assert_none(&traceability::complaints(&table, &tree::known_tests()));
    }

    #[test]
    fn links_between_documents_lead_somewhere() {
        let tracked = tree::tracked();
        let broken: Vec<String> = tree::documents()
            .iter()
            .flat_map(|(path, text)| documents::links(path, text, &tracked))
            .collect();
        assert_none(&broken);
    }

    #[test]
    fn documents_name_commands_that_exist() {
        let tracked = tree::tracked();
        let unknown: Vec<String> = tree::documents()
            .iter()
            .flat_map(|(path, text)| documents::commands(path, text, &tracked))
            .collect();
        assert_none(&unknown);
    }

    #[test]
    fn every_tested_provider_has_a_configuration_that_is_accepted() {
        let text = tree::read("docs/providers.md");
        for (name, preset) in mcp_oauth::upstream::presets::all() {
            let block = documents::block(&text, &format!("provider: {name}"));
            assert_eq!(block.is_some(), preset.tested, "{name}");
            let Some(block) = block else { continue };
            let text = block.replace(
                "client_secret_file = \"/run/secrets/",
                "client_secret = \"a-",
            );
            let config = mcp_oauth::config::parse(&text, "docs/providers.md")
                .unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(config.upstreams.len(), 1, "{name}");
        }
    }

    #[test]
    fn configuration_in_the_readme_is_accepted() {
        let text = documents::block(&tree::read("README.md"), "config").unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&secret, "a-secret-of-a-decent-length").unwrap();
        let text = text.replace("/run/secrets/github", secret.path().to_str().unwrap());
        let config = mcp_oauth::config::parse(&text, "README.md").unwrap();
        assert_eq!(config.resources.len(), 1);
        assert_eq!(config.upstreams.len(), 1);
    }
}
