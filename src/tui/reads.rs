//! What is read whole for one place of the console, as far as that shows it.

use std::collections::VecDeque;

use tokio_stream::StreamExt;

use crate::{
    app::msg::{AuditRead, DiffRead},
    base::{
        fault::{Fault, Outcome},
        limits::{
            CONSOLE_AUDIT_MAX, CONSOLE_CHANGES_BYTES_MAX, CONSOLE_CHANGES_MAX,
            CONSOLE_PATCH_BYTES_MAX,
        },
    },
    model::{
        audit::AuditRequest,
        chain::Verifier,
        change::{DiffPiece, DiffRequest, Subject},
    },
    runtime::Runtime,
};

/// Reads through the whole audit record, of which the newest entries are kept.
pub(super) async fn read_audit(runtime: &dyn Runtime) -> Outcome<AuditRead> {
    let mut pages = runtime.audit(AuditRequest::default()).await?;
    let (mut verifier, mut flaw) = (Some(Verifier::new(None)), None);
    let mut entries = VecDeque::new();
    let mut count = 0_u64;
    while let Some(page) = pages.next().await {
        for entry in page? {
            count += 1;
            if let Some(it) = &mut verifier
                && let Err(found) = it.take(&entry)
            {
                (flaw, verifier) = (Some(found.to_string()), None);
            }
            if entries.len() == CONSOLE_AUDIT_MAX {
                entries.pop_back();
            }
            entries.push_front(entry);
        }
        // Hashing a long record must hold up nobody.
        tokio::task::yield_now().await;
    }
    let sound = match (flaw, verifier.map(Verifier::end)) {
        (Some(flaw), _) => Err(flaw),
        (None, Some(Ok(head))) => Ok(head),
        (None, Some(Err(flaw))) => Err(flaw.to_string()),
        (None, None) => Err("it was not looked through".to_owned()),
    };
    Ok(AuditRead { entries: entries.into(), count, sound })
}

/// Reads a diff as far as the console shows one; the rest is not even sent.
pub(super) async fn read_diff(
    runtime: &dyn Runtime,
    of: Subject,
    request: DiffRequest,
) -> Outcome<DiffRead> {
    let (text, wanted) = (request.text, request.paths.clone());
    let mut pieces = runtime.diff(of, request).await?;
    let mut read = DiffRead::default();
    let (mut bytes, mut is_wanted) = (0, false);
    while let Some(piece) = pieces.next().await {
        match piece? {
            DiffPiece::File(change) => {
                // A directory that was asked for brings what is in it.
                is_wanted = wanted.contains(&change.path);
                bytes += change.path.len() + change.old_path.as_ref().map_or(0, Vec::len);
                if read.files.len() >= CONSOLE_CHANGES_MAX || bytes > CONSOLE_CHANGES_BYTES_MAX {
                    read.more = true;
                    return Ok(read);
                }
                read.files.push(change);
            }
            DiffPiece::Text(piece) if text && is_wanted => {
                let room = CONSOLE_PATCH_BYTES_MAX - read.text.len();
                if piece.len() > room {
                    read.text.extend_from_slice(piece.get(..room).unwrap_or_default());
                    read.cut = true;
                    return Ok(read);
                }
                read.text.extend_from_slice(&piece);
            }
            DiffPiece::Text(_) => {}
            DiffPiece::End { git_left_out } => {
                read.git_left_out = git_left_out;
                return Ok(read);
            }
        }
    }
    Err(Fault::lost("the hub ended in the middle of the diff"))
}
