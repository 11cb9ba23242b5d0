//! What an `[upstreams.NAME]` table must hold, and what is said when it does not.

use mcp_oauth::oauth::names::{Secret, UpstreamName};
use mcp_oauth::upstream::{Problem, Secrets, Settings};

use super::table;

const BASE: &str = "client_id = 'x'\nclient_secret = 'y'\n";

fn resolve(text: &str) -> Result<Settings, Vec<Problem>> {
    table(text).resolve(UpstreamName::new("idp"), Secrets::default())
}

fn keys(text: &str) -> Vec<String> {
    let problems = resolve(text).err().unwrap_or_default();
    assert!(
        problems.iter().all(|it| it.hint.is_some()),
        "each problem has a hint: {problems:?}"
    );
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn every_problem_is_told_at_once() {
    assert_eq!(keys("provider = 'keycloak'"), ["client_id", "host"]);
    assert_eq!(keys("provider = 'github'"), ["client_id", "client_secret"]);
    assert_eq!(
        keys(&format!("provider = 'keycloak'\nhost = 'x'\n{BASE}")),
        ["realm"]
    );
    assert_eq!(keys(&format!("provider = 'entra'\n{BASE}")), ["tenant"]);
    assert_eq!(keys(&format!("provider = 'oidc'\n{BASE}")), ["issuer"]);
    assert_eq!(
        keys("provider = 'oauth2'"),
        [
            "client_id",
            "authorize_url",
            "token_url",
            "userinfo_url",
            "subject"
        ]
    );
}

#[test]
fn unknown_provider_is_met_with_a_guess() {
    for (text, expected) in [
        ("provider = 'gihub'", "did you mean `github`?"),
        ("provider = 'Google'", "did you mean `google`?"),
        (
            "provider = 'myspace'",
            "`oidc` and `oauth2` fit every other",
        ),
        ("", "`mcp-oauth providers list`"),
    ] {
        let problem = resolve(text).unwrap_err().remove(0);
        assert_eq!(problem.key, "provider");
        assert!(problem.hint.unwrap().contains(expected), "{text}");
    }
}

#[test]
fn urls_must_be_confidential() {
    for issuer in [
        "http://idp.example",
        "ftp://idp.example",
        "idp.example",
        "https://",
        "https://u@idp.example",
        "https://idp.example/#x",
        "https://idp.example/?x=1",
        "http://localhost.evil.example",
        "http://10.0.0.1",
    ] {
        let text = format!("provider = 'oidc'\nissuer = '{issuer}'\n{BASE}");
        assert_eq!(keys(&text), ["issuer"], "{issuer}");
    }
    for issuer in [
        "https://idp.example",
        "http://localhost:8080/realms/x",
        "http://127.0.0.1:1",
        "http://[::1]:1",
    ] {
        let text = format!("provider = 'oidc'\nissuer = '{issuer}'\n{BASE}");
        assert_eq!(keys(&text), [""; 0], "{issuer}");
    }
    let text = format!("provider = 'github'\ntoken_url = 'http://github.example/token'\n{BASE}");
    assert_eq!(keys(&text), ["token_url"]);
}

#[test]
fn parameters_and_headers_of_ours_cannot_be_set() {
    for ours in [
        "state",
        "nonce",
        "redirect_uri",
        "resource",
        "code_challenge",
        "response_mode",
        "client_id",
    ] {
        let text = format!("provider = 'github'\nauthorize_params = {{ {ours} = 'x' }}\n{BASE}");
        assert_eq!(keys(&text), ["authorize_params"], "{ours}");
        let text = format!("provider = 'github'\naccount_params = {{ {ours} = 'x' }}\n{BASE}");
        assert_eq!(keys(&text), ["account_params"], "{ours}");
    }
    for header in ["Authorization = 'x'", "'a b' = 'x'", "X = \"a\\nb\""] {
        let text = format!("provider = 'github'\napi_headers = {{ {header} }}\n{BASE}");
        assert_eq!(keys(&text), ["api_headers"], "{header}");
    }
}

#[test]
fn variables_fill_the_urls() {
    let issuer = |text: &str| {
        resolve(&format!("{text}\n{BASE}"))
            .unwrap()
            .profile()
            .issuer
            .clone()
    };
    assert_eq!(
        issuer("provider = 'keycloak'\nhost = 'sso.example'\nrealm = 'a'").unwrap(),
        "https://sso.example/realms/a"
    );
    assert_eq!(
        issuer("provider = 'keycloak'\nhost = 'http://localhost:8081'\nrealm = 'a'").unwrap(),
        "http://localhost:8081/realms/a"
    );
    assert_eq!(issuer("provider = 'gitlab'").unwrap(), "https://gitlab.com");
    assert_eq!(
        issuer("provider = 'okta'\ndomain = 'dev.okta.com'").unwrap(),
        "https://dev.okta.com/oauth2/default"
    );
    assert_eq!(
        issuer("provider = 'auth0'\ndomain = 'x.eu.auth0.com'").unwrap(),
        "https://x.eu.auth0.com/"
    );
    let text = format!("provider = 'keycloak'\nhost = 'http://sso.example'\nrealm = 'a'\n{BASE}");
    assert_eq!(keys(&text), ["issuer"], "plain http beyond this computer");
    let text = format!("provider = 'keycloak'\nhost = 'a?b'\nrealm = 'x/../y'\n{BASE}");
    assert_eq!(keys(&text), ["host"]);
}

// B4: a fingerprint follows provider and client, a shared tenant has no issuer of its own.
#[test]
fn fingerprint_follows_provider_and_client() {
    let print = |text: &str| resolve(text).unwrap().profile().fingerprint;
    let one = print(&format!("provider = 'github'\n{BASE}"));
    assert_eq!(
        one,
        print(&format!("provider = 'github'\nscopes = []\n{BASE}"))
    );
    assert_ne!(
        one,
        print("provider = 'github'\nclient_id = 'z'\nclient_secret = 'y'")
    );
    assert_ne!(one, print(&format!("provider = 'google'\n{BASE}")));
    let shared = resolve(&format!("provider = 'entra'\ntenant = 'common'\n{BASE}")).unwrap();
    assert_eq!(shared.profile().issuer, None);
}

#[test]
fn trust_in_email_has_no_effect_in_a_shared_tenant() {
    for (issuer, trusted) in [
        ("https://login.microsoftonline.com/common/v2.0", false),
        (
            "https://login.microsoftonline.com/ORGANIZATIONS/v2.0",
            false,
        ),
        ("https://login.microsoftonline.com/consumers/v2.0", false),
        ("https://login.microsoftonline.us/common/v2.0", false),
        ("https://sts.windows.net/common/", false),
        (
            "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            false,
        ),
        (
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
            true,
        ),
        ("https://notmicrosoftonline.com/common/v2.0", true),
    ] {
        for provider in ["oidc", "entra"] {
            let text = format!(
                "provider = '{provider}'\ntenant = 'x'\nissuer = '{issuer}'\ntrust_email = true\n{BASE}"
            );
            assert_eq!(resolve(&text).unwrap().trusts_email(), trusted, "{issuer}");
        }
    }
}

#[test]
fn unknown_keys_are_refused() {
    let error =
        toml::from_str::<mcp_oauth::upstream::RawUpstream>("provder = 'github'").unwrap_err();
    assert!(error.to_string().contains("provder"));
}

#[test]
fn secret_of_a_file_wins_and_is_not_shown() {
    let secrets = Secrets {
        client_secret: Some(Secret::new("from-the-file")),
        extra_ca: None,
    };
    let raw = table("provider = 'github'\nclient_id = 'x'");
    let settings = raw.resolve(UpstreamName::new("idp"), secrets).unwrap();
    assert!(!format!("{settings:?}").contains("from-the-file"));
}

#[test]
fn table_overrides_the_preset() {
    let text = format!(
        "provider = 'github'\nscopes = ['repo']\ndisplay = 'Octo'\ncode_ttl_s = 9\ncallback_path = '/cb'\nexchange = 'callback'\n{BASE}"
    );
    let settings = resolve(&text).unwrap();
    let profile = settings.profile();
    assert_eq!(profile.scopes, ["repo"]);
    assert_eq!(profile.display_name, "Octo");
    assert_eq!(profile.code_ttl.as_secs(), 9);
    assert_eq!(profile.callback_path, "/cb");
    assert_eq!(profile.exchange, mcp_oauth::upstream::ExchangeAt::Callback);
    let plain = resolve(&format!("provider = 'github'\n{BASE}")).unwrap();
    assert_eq!(plain.profile().callback_path, "/callback/idp");
    assert_eq!(plain.profile().display_name, "GitHub");
}
