//! The record for people: one HTML file to print, without script and without anything from outside.

use super::Status;
use std::fmt::Display;
use std::fmt::Write as _;

/// Text as HTML shows it, whatever is in it.
fn escape(text: &impl Display) -> String {
    let text = text.to_string();
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Hex in groups of four, for people to read aloud.
fn grouped(hex: &impl Display) -> String {
    let text = hex.to_string();
    let digits: Vec<char> = text.strip_prefix("0x").unwrap_or(&text).chars().collect();
    let groups: Vec<String> = digits
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    format!("<code>{}</code>", escape(&groups.join(" ")))
}

fn row(page: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "<tr><th>{}</th><td>{value}</td></tr>", escape(&name));
}

fn section(page: &mut String, title: &str, rows: impl FnOnce(&mut String)) {
    let _ = writeln!(page, "<h2>{}</h2>\n<table>", escape(&title));
    rows(page);
    page.push_str("</table>\n");
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<title>Ceremony record</title>\n<style>body{font:11pt serif;max-width:50em;margin:2em auto}table{border-collapse:collapse;width:100%}\
th{text-align:left;width:13em;vertical-align:top}td,th{border:1px solid #999;padding:.3em}code{font-size:10pt;word-break:break-all}\
h2{break-after:avoid}table{break-inside:avoid}pre{white-space:pre-wrap;font-size:9pt}</style></head><body>\n<h1>Ceremony record</h1>\n";

/// The page: who, what, which figures, what was checked, and what is left to do.
pub fn html(status: &Status, parameters: &str) -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "Ceremony", |page| {
        row(page, "Id", &grouped(&status.ceremony));
        row(page, "Next step", &escape(&status.next_in_words));
        let missing = status.missing.join(", ");
        let missing = if missing.is_empty() {
            "nobody"
        } else {
            &missing
        };
        row(page, "Waits for", &escape(&missing));
    });
    for (member, key) in &status.officers {
        section(&mut page, &format!("Member {member}"), |page| {
            row(
                page,
                "Officer's key",
                &format!("<code>{}</code>", escape(key)),
            );
            let confirmed = if status.confirmed.contains(member) {
                "yes"
            } else {
                "not yet"
            };
            row(page, "Confirmed", confirmed);
            let Some(signed) = status.cards.get(member) else {
                row(page, "Card", "not yet");
                return;
            };
            let card = &signed.card;
            row(page, "Card", &grouped(&card.digest()));
            row(page, "BLS key", &grouped(&card.bls));
            row(page, "Schnorr key", &grouped(&card.schnorr));
            row(page, "Authority of the signer", &grouped(&card.signer_ca));
            row(page, "Authority of its clients", &grouped(&card.client_ca));
            row(page, "Keys are", card.backend.name());
            row(page, "Entropy, as the signer says", &entropy(&card.entropy));
            let attestation = card.attestation.as_ref();
            let attestation = attestation.map_or_else(
                || "none".to_owned(),
                |found| format!("{}, not verified", escape(&found.kind)),
            );
            row(page, "Device attestation", &attestation);
        });
    }
    if let Some(transcript) = &status.transcript {
        section(&mut page, "Result", |page| {
            row(
                page,
                "Chain",
                &escape(&format!("{} ({})", transcript.name, transcript.chain_id)),
            );
            row(page, "Bitcoin network", &escape(&transcript.network));
            let members = transcript.members.len();
            row(
                page,
                "Signatures to spend",
                &format!("{} of {members}", transcript.threshold),
            );
            row(page, "Chain spec", &grouped(&transcript.chain));
            row(page, "Genesis header", &grouped(&transcript.genesis_id));
            row(
                page,
                "Execution genesis",
                &grouped(&transcript.genesis_hash),
            );
            row(
                page,
                "Deposit address",
                &format!("<code>{}</code>", escape(&transcript.deposit_address)),
            );
            row(
                page,
                "Descriptor",
                &format!("<code>{}</code>", escape(&transcript.descriptor)),
            );
            if let Some(hash) = &status.transcript_sha256 {
                row(page, "SHA-256 of transcript.json", &grouped(hash));
            }
        });
    }
    section(&mut page, "Spend test", |page| match &status.spend_test {
        None => row(
            page,
            "Shown",
            "not yet: the deposit address must not be published",
        ),
        Some(report) => {
            row(page, "Deposit", &grouped(&report.deposit));
            row(page, "Spent by", &grouped(&report.spend));
            row(page, "Signed by", &escape(&report.signed_by.join(", ")));
            row(
                page,
                "Keys not shown by it",
                &escape(&report.not_shown.join(", ")),
            );
        }
    });
    page.push_str(CHECKS);
    let _ = writeln!(
        page,
        "<h2>Parameters</h2>\n<pre>{}</pre>",
        escape(&parameters)
    );
    page.push_str(
        "<h2>Signatures</h2>\n<table><tr><th>Name</th><th>Date, place</th><th>Signature</th></tr>\n",
    );
    for member in status.officers.keys() {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>&nbsp;</td><td>&nbsp;</td></tr>",
            escape(member)
        );
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

fn entropy(report: &alys_protocol::ceremony::EntropyReport) -> String {
    let officer = report.officer.map_or_else(
        || "none of an officer".to_owned(),
        |officer| {
            format!(
                "{} bits of an officer ({} of {})",
                officer.bits,
                officer.throws,
                officer.kind.name()
            )
        },
    );
    format!(
        "{} bits of the host, {} bits of the token, {officer}",
        report.host_bits, report.token_bits
    )
}

const CHECKS: &str = "<h2>Checked whenever this record is written</h2>\n<ul>\
<li>each card: proof of possession of the BLS key, signature of the whole card by the Schnorr key, bound to this ceremony and member</li>\
<li>no key and no authority is used twice, none is a recovery key, none is easily guessed</li>\
<li>chain spec, genesis, address and descriptor follow from parameters and cards, byte for byte</li>\
<li>each confirmation there: signed by the officer whom the ceremony names</li>\
<li>the spend test, where there is one: the script path, and each member's signature in it</li></ul>\n\
<h2>Not shown by this record</h2>\n<ul><li>that a signer made its keys from what its card says</li>\
<li>that Bitcoin has mined the spend test's transactions: look them up</li></ul>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_figures_are_grouped() {
        assert_eq!(
            escape(&"<b a='1' c=\"2\">&"),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;"
        );
        assert_eq!(grouped(&"0x0123456789"), "<code>0123 4567 89</code>");
    }
}
