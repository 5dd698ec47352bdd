//! Ending a watch.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::cancel",
        [
            it_is_answered,
            nothing_follows,
            the_others_go_on,
            an_unknown_one_is_ignored,
            an_id_can_be_used_again,
            while_it_catches_up,
        ]
    )
}

async fn it_is_answered(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.ask_cancel(0).await?;
    let expected = WatchResponse {
        header: case.header(0),
        watch_id: 0,
        canceled: true,
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn nothing_follows(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.ask_cancel(0).await?;
    stream.next().await?;
    case.put(put("k", "")).await?;
    stream.silent().await
}

async fn the_others_go_on(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.create(watch("k")).await?;
    stream.ask_cancel(0).await?;
    stream.next().await?;
    case.put(put("k", "")).await?;
    assert_eq!(stream.next().await?.watch_id, 1);
    stream.silent().await
}

async fn an_unknown_one_is_ignored(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.ask_cancel(99).await?;
    case.put(put("k", "")).await?;
    let answer = stream.next().await?;
    assert_eq!((answer.watch_id, answer.canceled), (0, false));
    Ok(())
}

async fn an_id_can_be_used_again(case: &mut Case) -> Result<()> {
    let own = || WatchCreateRequest {
        watch_id: 9,
        ..watch("k")
    };
    let mut stream = WatchStream::watching(case, own()).await?;
    stream.ask_cancel(9).await?;
    assert!(stream.next().await?.canceled);
    assert_eq!(stream.create(own()).await?, 9);
    case.put(put("k", "")).await?;
    assert_eq!(stream.next().await?.events.len(), 1);
    Ok(())
}

async fn while_it_catches_up(case: &mut Case) -> Result<()> {
    for n in 0..50 {
        case.put(put("k", n.to_string())).await?;
    }
    let mut stream = WatchStream::watching(case, watch("other")).await?;
    stream
        .ask_create(WatchCreateRequest {
            start_revision: case.start + 1,
            ..watch("k")
        })
        .await?;
    stream.ask_cancel(1).await?;
    loop {
        let answer = stream.next().await?;
        assert_eq!(answer.watch_id, 1);
        if answer.canceled {
            break;
        }
    }
    stream.silent().await
}
