//! The table of endpoints: each row is asked for with every method.

use axum::body::Body;
use axum::http::Request;

use super::super::support::world::World;
use super::read;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The rows of the first table: a path, and its methods.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = read("docs/reference/endpoints.md");
    let table = page.split("\n|---").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let methods = cells[2].split(", ").map(str::to_owned).collect();
        (cells[1].trim_matches('`').to_owned(), methods)
    })
    .collect()
}

#[tokio::test]
async fn endpoints_answer_the_methods_that_the_reference_says() {
    let world = World::new();
    let rows = rows();
    assert!(rows.len() > 10, "{rows:?}");
    for (path, allowed) in rows {
        let path = path
            .replace("{resource}", "mcp")
            .replace("{upstream}", "stub");
        for method in METHODS {
            let request = Request::builder().method(method).uri(&path);
            let answer = world.send(request.body(Body::empty()).unwrap()).await;
            let is_listed = allowed.iter().any(|it| it == method);
            let status = answer.status.as_u16();
            assert_eq!(status != 405, is_listed, "{method} {path}: {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
}
