//! Spans of requests as an OpenTelemetry collector gets them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use qpq_tests::world::{Person, Server};
use tempfile::tempdir;

/// Takes what is posted to its `/v1/traces`.
struct Collector {
    address: SocketAddr,
    posted: mpsc::Receiver<Vec<u8>>,
}

impl Collector {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, (sender, posted)) = (listener.local_addr()?, mpsc::channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = answer(&mut BufReader::new(stream?))?;
                if sender.send(body).is_err() {
                    break;
                }
            }
            anyhow::Ok(())
        });
        Ok(Self { address, posted })
    }
}

fn answer(stream: &mut BufReader<std::net::TcpStream>) -> Result<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line == "POST /v1/traces HTTP/1.1\r\n", "{line}");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "content-type" => ensure!(value.trim() == "application/x-protobuf", "{line}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    Ok(body)
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Result<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key).with_context(|| format!("no {key}"))?;
    match found.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => Ok(text),
        other => anyhow::bail!("{key} is {other:?}"),
    }
}

#[test]
fn a_collector_gets_every_request_and_nobody_s_name() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let collector = Collector::start()?;
    let address = format!("http://{}", collector.address);
    let settings = [("QPQ_SERVER__TRACES__COLLECTOR", address.as_str())];
    let server = Server::start_with(data.path(), "127.0.0.1:0", &settings)?;
    let alice = Person::registered(&folder, "alicia", &server.address)?;
    let bob = Person::registered(&folder, "robert", &server.address)?;
    alice.run(&["send", "@robert", "wallaby"])?.success()?;
    assert_eq!(bob.texts(1)?, ["wallaby"]);
    assert_ne!(alice.run(&["send", "@nobodyhere", "wallaby"])?.code, 0);
    // What is left is sent before the process ends.
    assert_eq!(server.terminate()?, 0);

    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Ok(body) = collector.posted.try_recv() {
        for private in ["alicia", "robert", "wallaby", "127.0.0.1"] {
            let found = body.windows(private.len()).any(|window| window == private.as_bytes());
            ensure!(!found, "{private} is among the spans");
        }
        for resource in ExportTraceServiceRequest::decode(&body[..])?.resource_spans {
            let about = resource.resource.context("a resource")?.attributes;
            assert_eq!(text(&about, "service.name")?, "qpq-server");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert_eq!(text(&span.attributes, "method")?, span.name);
                ensure!(span.end_time_unix_nano >= span.start_time_unix_nano && span.span_id.len() == 8);
                text(&span.attributes, "id")?;
                outcomes.entry(span.name.clone()).or_default().push(text(&span.attributes, "outcome")?.into());
            }
        }
    }
    for method in ["gateway.register", "gateway.resume", "groups.post", "stream.subscribe"] {
        let outcomes = outcomes.get(method).with_context(|| format!("{method} is not among {outcomes:?}"))?;
        assert!(outcomes.iter().all(|outcome| outcome == "ok"), "{method}: {outcomes:?}");
    }
    assert!(outcomes["directory.byName"].iter().any(|outcome| outcome != "ok"), "{outcomes:?}");
    Ok(())
}
