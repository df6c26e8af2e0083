//! Steps through DER, for what webpki checks but does not tell.

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged};
use rustls::pki_types::UnixTime;

/// What is inside the next element, which has `tag`.
pub(crate) fn inside<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<SliceReader<'a>> {
    SliceReader::new(content(reader, tag)?)
}

/// The content of the next element, which has `tag`.
pub(crate) fn content<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let element = AnyRef::decode(reader)?;
    Tagged::tag(&element).assert_eq(tag)?;
    Ok(element.value())
}

/// Steps over the next element where it has `tag`.
pub(crate) fn skip_if(reader: &mut SliceReader<'_>, tag: Tag) -> der::Result<()> {
    if !reader.is_finished() && reader.peek_tag()? == tag {
        content(reader, tag)?;
    }
    Ok(())
}

/// A `Time` (RFC 5280, 4.1.2.5).
pub(crate) fn time(reader: &mut SliceReader<'_>) -> der::Result<UnixTime> {
    let since_epoch = if reader.peek_tag()? == Tag::UtcTime {
        UtcTime::decode(reader)?.to_unix_duration()
    } else {
        GeneralizedTime::decode(reader)?.to_unix_duration()
    };
    Ok(UnixTime::since_unix_epoch(since_epoch))
}
