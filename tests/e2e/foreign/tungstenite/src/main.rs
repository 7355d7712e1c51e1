//! Rust's tungstenite, over TLS by native-tls, which here is OpenSSL: SSL_CERT_FILE names the certificate to trust. It knows no
//! compression.

use serde_json::{json, Value};
use std::io::Read;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::CloseFrame;
use tungstenite::{connect, Message};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let order: Value = serde_json::from_str(&text)?;
    let address = order["address"].as_str().ok_or("no address")?.to_owned();
    let mut request = order["url"].as_str().ok_or("no url")?.into_client_request()?;
    for (name, value) in order["headers"].as_object().ok_or("no headers")? {
        let value = value.as_str().ok_or("a header is no string")?;
        request.headers_mut().insert(HeaderName::try_from(name.as_str())?, HeaderValue::from_str(value)?);
    }
    let protocols: Vec<&str> = order["protocols"].as_array().ok_or("no protocols")?.iter().filter_map(Value::as_str).collect();
    if !protocols.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(&protocols.join(", "))?);
    }
    let (mut socket, answer) = connect(request)?;
    let chosen = answer.headers().get("Sec-WebSocket-Protocol").map_or("", |value| value.to_str().unwrap_or(""));
    let mut told = json!({"protocol": chosen, "compressed": false});
    let (mut accepted, mut asked) = (false, false);
    loop {
        let message: Value = match socket.read()? {
            Message::Text(text) => serde_json::from_str(text.as_ref())?,
            _ => continue,
        };
        let envelope = |to: &str, fields: Value| {
            let mut all = json!({"from": address, "to": [to], "subject": "", "content": ""});
            for (name, value) in fields.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            Message::Text(all.to_string().into())
        };
        if message["subject"] == "welcome" {
            socket.send(envelope(&address, json!({"type": 1, "id": "foreign", "content": order["content"]})))?;
        } else if message["subject"] == "accepted" {
            accepted = true;
        } else if message["from"] == address.as_str() {
            told["content"] = message["content"].clone();
            told["seq"] = message["seq"].clone();
        } else if message["subject"] == "result" && message["inReplyTo"] == "ack" {
            told["cursor"] = message["cursor"].clone();
            break;
        }
        if accepted && told["seq"].is_string() && !asked {
            asked = true;
            let fields = json!({"type": 4, "id": "ack", "subject": "ack", "references": told["seq"]});
            socket.send(envelope("postmaster", fields))?;
        }
    }
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))?;
    loop {
        match socket.read() {
            Ok(Message::Close(Some(frame))) => told["code"] = json!(u16::from(frame.code)),
            Ok(_) => {}
            Err(_) => break, // ConnectionClosed, behind the server's close frame
        }
    }
    println!("{told}");
    Ok(())
}
