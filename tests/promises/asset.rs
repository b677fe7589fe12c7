//! docs/your-asset.md: every command and file on that page works as it stands there, in its order, and ends at a live twin.

use serde_json::Value;

use crate::home::{Home, REPOSITORY};

/// A fenced block of the page: its language and, for a file, its name; then its text.
struct Block<'a> {
    kind: &'a str,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(kind), None) => open = Some(Block { kind, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_page_leads_from_a_table_to_a_live_twin() {
    let page = std::fs::read_to_string(format!("{REPOSITORY}/docs/your-asset.md")).expect("committed");
    let mut home = Home::without_model();
    // The page says that the server and the commands stand in one directory with the repository's data.
    let link = home.path().join("data");
    std::os::unix::fs::symlink(format!("{REPOSITORY}/data"), link).expect("the test's directory can be written");
    let mut server = None;
    let mut definition = String::new();
    let mut commands = 0;
    for block in blocks(&page) {
        if let Some(name) = block.kind.strip_prefix("toml ") {
            home.file(name, &block.text);
            definition = block.text;
            continue;
        }
        if block.kind != "sh" {
            continue;
        }
        // A backslash ends no command.
        for command in block.text.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
            commands += 1;
            if let Some(settings) = command.strip_suffix(" cidp serve") {
                for pair in settings.split_whitespace() {
                    let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                    home.set(name, value);
                }
                server = Some(home.serve());
                continue;
            }
            let base = server.as_ref().map(|server: &crate::home::Server| server.base().to_owned());
            home.shell(command, base.as_deref());
        }
    }
    assert!(commands >= 6, "the page lost its commands: {commands} are left");
    let rules = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    let committed = std::fs::read_to_string(format!("{REPOSITORY}/data/ai4i/definition.toml")).expect("committed");
    assert_eq!(rules(&definition).iter().filter(|line| line.starts_with("id =")).count(), 6);
    let numbers = |text: &str| rules(text).into_iter().filter(|line| !line.starts_with("label")).collect::<String>();
    assert_eq!(numbers(&definition), numbers(&committed), "the page shows the committed definition, but for words");
    let server = server.expect("the page starts a server");
    let client = server.client();
    let twin = client.get("/twins/MILL-1").expect(200);
    assert!(twin["risk"].is_number() && twin["probability"].is_number(), "{twin:#}");
    assert_eq!(twin["sensors"]["torque"]["unit"], "N·m", "{twin:#}");
    assert_eq!(twin["sensors"].as_object().map(serde_json::Map::len), Some(6));
    assert_eq!(twin["model"], client.get("/model").expect(200)["id"]);
    let changes = client.get("/twins/MILL-1/events?type=RiskChanged&limit=1000").expect(200);
    let levels: Vec<_> =
        changes["items"].as_array().expect("a list").iter().map(|event| event["data"]["to"].clone()).collect();
    assert!(levels.contains(&Value::from("danger")) && levels.contains(&Value::from("nominal")), "{levels:?}");
    server.stop("TERM");
}
