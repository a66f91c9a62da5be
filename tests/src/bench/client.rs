//! The gate client alone, for information: the same bytes again and again, over as many
//! connections as wrk has. What the whole path takes beyond it is the engine's.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use worldstream::gate::{GateClient, PushEnd};
use worldstream::plan::GatePlan;
use worldstream::stop::Stop;

use super::encode::processor;
use super::figures::{median, spread};
use super::sink::Sink;
use super::whole_path::{IN_FLIGHT, LARGE, first_envelope};
use super::{Goal, Measurement, Options, say, worlds};

/// `gate_client_N` and `gate_client_cpu_N`.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    let names = |n: usize| (format!("gate_client_{n}"), format!("gate_client_cpu_{n}"));
    let wanted = |n: &usize| {
        let (rate, cpu) = names(*n);
        options.wants_any(&[&rate, &cpu])
    };
    if !IN_FLIGHT.iter().any(wanted) {
        return Ok(());
    }
    let world = worlds::sample(options, LARGE)?;
    let body = first_envelope(options, &world)?;
    let sink = Sink::start()?;
    let mut gate = worlds::open(options, &world)?.plan.gate;
    gate.url = format!("{}/v1/ingest/push", sink.url);
    let (pairs, seconds) = if options.quick { (3, 1) } else { (7, 3) };
    let time = Duration::from_secs(seconds);
    for in_flight in IN_FLIGHT.into_iter().filter(wanted) {
        say(&format!("the client alone, {in_flight} in flight"));
        let (mut rates, mut cpu, mut wrk_cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (rate, micros) = push(&gate, &body, in_flight, time)?;
            let wrk = sink.wrk(&body, in_flight, time)?;
            rates.push((rate, wrk.rate));
            cpu.push(micros);
            wrk_cpu.push(wrk.cpu_micros);
        }
        let (name, name_cpu) = names(in_flight);
        let note = format!("wrk -t1 -c{in_flight}, {pairs} pairs of {seconds} s");
        show(Measurement::paired(
            &name,
            "events/s",
            &rates,
            Goal::None,
            note,
        ));
        let note = format!("{}; wrk {:.1} µs", spread(&cpu), median(&wrk_cpu));
        show(Measurement::alone(
            &name_cpu,
            "µs",
            median(&cpu),
            Goal::None,
            note,
        ));
    }
    Ok(())
}

/// Events a second, and processor time an event in µs.
fn push(
    gate: &GatePlan,
    body: &[u8],
    in_flight: usize,
    time: Duration,
) -> Result<(f64, f64), String> {
    // Like an output's.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| format!("no runtime: {error}"))?;
    let client = GateClient::new(gate).map_err(|failure| failure.to_string())?;
    let body = Bytes::copy_from_slice(body);
    let (sent, stop) = (Rc::new(Cell::new(0u64)), Stop::new());
    let (began, before) = (Instant::now(), processor());
    let ended = runtime.block_on(async {
        let pumps: Vec<_> = (0..in_flight)
            .map(|_| {
                let mut connection = client.connection();
                let (body, sent, stop) = (body.clone(), sent.clone(), stop.clone());
                spawn_local(async move {
                    while began.elapsed() < time {
                        match connection.push(body.clone(), &stop).await {
                            PushEnd::Taken { .. } => sent.set(sent.get() + 1),
                            PushEnd::Failed(failure) => return Err(failure.to_string()),
                            PushEnd::Interrupted => return Err("interrupted".to_owned()),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for pump in pumps {
            pump.await.map_err(|error| error.to_string())??;
        }
        Ok::<(), String>(())
    });
    ended?;
    let sent = sent.get() as f64;
    let cpu = processor() - before;
    Ok((
        sent / began.elapsed().as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / sent,
    ))
}
