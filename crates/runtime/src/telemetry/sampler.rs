//! Which traces are kept: all of those that an operator may ask for later, and a share of the frequent ones.
//!
//! A span with a parent follows its parent. Else its name decides: polls, downloads and discovery come by the thousand
//! and tell little, so that a share of them is enough; token requests, kick-offs, deeds of administrators, steps and
//! shards are all kept.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{Sampler as Standard, SamplingDecision, SamplingResult, ShouldSample};

/// The attribute by which a span says that it is one of many.
pub(super) const FREQUENT: &str = "headgate.frequent";

/// Keeps what is rare and a share of what is frequent.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    share: Standard,
}

impl Sampler {
    /// Keeps `ratio` of the frequent traces.
    pub(super) fn new(ratio: f64) -> Self {
        Self { share: Standard::TraceIdRatioBased(ratio) }
    }
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent_span = parent.map(|parent| parent.span().span_context().clone());
        let decision = match parent_span.filter(|parent| parent.is_valid()) {
            Some(parent) if parent.is_sampled() => SamplingDecision::RecordAndSample,
            Some(_) => SamplingDecision::Drop,
            None if attributes.iter().any(is_frequent) => {
                return self.share.should_sample(None, trace, name, kind, attributes, links);
            }
            None => SamplingDecision::RecordAndSample,
        };
        SamplingResult { decision, attributes: vec![], trace_state: TraceState::default() }
    }
}

fn is_frequent(attribute: &KeyValue) -> bool {
    attribute.key.as_str() == FREQUENT && attribute.value == Value::Bool(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(ratio: f64, attributes: &[KeyValue]) -> usize {
        let sampler = Sampler::new(ratio);
        let kept = |n: u128| {
            let trace = TraceId::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15_9E37_79B9_7F4A_7C15));
            let result = sampler.should_sample(None, trace, "a", &SpanKind::Server, attributes, &[]);
            result.decision == SamplingDecision::RecordAndSample
        };
        (1..=400).filter(|n| kept(*n)).count()
    }

    #[test]
    fn frequent_traces_are_kept_by_share_and_rare_ones_all() {
        let frequent = [KeyValue::new(FREQUENT, true)];
        assert_eq!(keeps(0.0, &frequent), 0);
        assert_eq!(keeps(1.0, &frequent), 400);
        assert!((100..300).contains(&keeps(0.5, &frequent)));
        assert_eq!(keeps(0.0, &[]), 400);
        assert_eq!(keeps(0.0, &[KeyValue::new(FREQUENT, false)]), 400);
    }
}
