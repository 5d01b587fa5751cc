//! What every store is held to: a case for each promise of [`Store`], and a model that random sequences of operations
//! are compared with.
//!
//! A store's tests say where it is kept, and get a test for each case:
//!
//! ```ignore
//! ays_store::contract!(MyPlace::new());
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "it is a test suite, which tells by panicking; its names say what is promised"
)]

pub mod accepting;
pub mod applying;
pub mod asking;
mod bed;
pub mod committing;
pub mod keeping;
pub mod model;
mod reference;
pub mod taking;

use std::sync::Arc;

use async_trait::async_trait;

pub use bed::Bed;

use crate::Store;

/// Where a store is kept. The suite opens it, closes it, and opens it again: it must then hold what it held.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens it. It is open only once at a time, and empty at first.
    async fn open(&self) -> Arc<dyn Store>;
}

/// A test for each case, and the model. The argument makes a [`Place`] of its own for each.
#[macro_export]
macro_rules! contract {
    ($place:expr) => {
        $crate::contract!(@module $place, accepting,
            an_accepted_event_leads_to_a_job_for_each_filter_in_order_of_registration
            an_event_that_no_filter_takes_is_recorded
            a_claim_is_accepted_once
            a_job_for_a_service_that_is_not_there_becomes_a_dead_letter
            an_entry_that_cannot_be_understood_is_kept_as_it_came
            ids_grow_in_order_of_arrival_also_when_the_clock_is_set_back
        );
        $crate::contract!(@module $place, taking,
            a_service_is_one_takers_until_all_its_jobs_are_committed_or_released
            who_has_waited_longest_comes_first
            a_retrying_job_is_passed_over_until_it_is_due
            a_strict_job_holds_back_what_came_after_it
            take_waits_until_there_is_something
            dropping_a_take_takes_nothing
            what_was_taken_and_not_committed_comes_again
            a_taker_sees_the_data_of_the_services_it_is_linked_to
        );
        $crate::contract!(@module $place, committing,
            a_turn_becomes_visible_whole_and_its_job_leaves_the_mailbox
            a_failed_turn_has_no_effects
            a_void_attempt_changes_nothing
            what_was_made_on_the_data_of_a_void_attempt_is_void_and_done_again
            a_failed_job_is_in_the_history_and_the_dead_letter_list_and_can_be_retried
            emitted_events_are_routed_and_a_chain_ends
            life_cycle_actions_are_remembered_and_undone
            setting_a_filter_again_changes_at_most_its_secret
            an_occurrence_gets_one_job_and_a_missed_one_comes_after
            a_schedule_waits_for_what_must_be_done_before
            a_run_goes_step_by_step_and_a_failure_stops_it
            a_job_that_has_not_ended_can_be_cancelled
            an_attempt_cannot_end_as_running
        );
        $crate::contract!(@module $place, keeping,
            pairs_are_committed_with_their_turn_and_are_their_services_own
            a_turn_that_does_not_count_keeps_nothing
            keys_come_in_the_order_of_their_bytes_page_by_page
        );
        $crate::contract!(@module $place, applying,
            applying_creates_updates_and_subscribes_in_one_commit
            what_cannot_be_applied_changes_nothing
            what_was_changed_since_it_was_planned_is_a_conflict_and_changes_nothing
            retention_keeps_the_number_and_the_age_it_is_told
        );
        $crate::contract!(@module $place, asking,
            jobs_are_found_by_every_member_of_a_query
            pages_cover_everything_once
            a_cursor_that_is_none_is_refused
            grants_are_kept_by_actor
            the_status_counts
            a_stores_identity_stays
            a_closed_store_refuses_everything
        );

        #[test]
        fn any_sequence_of_operations_does_what_the_model_does() {
            $crate::contract::model::check(|| Box::new($place));
        }
    };
    (@module $place:expr, $module:ident, $($case:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "what the place's expression needs")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let bed = $crate::contract::Bed::new(Box::new($place)).await;
                    $crate::contract::$module::$case(bed).await;
                }
            )*
        }
    };
}
