"""What is about one thing of the caller's, asked about one that is not there, by capability."""

from __future__ import annotations

from typing import Any

OF_SOMETHING: dict[str, dict[str, Any]] = {
    "get_approval": {"approval_id": "approval-none"},
    "decide_approval": {"approval_id": "approval-none", "approved": True},
    "get_mandate": {"mandate_id": "mandate-none"},
    "raise_mandate": {"mandate_id": "mandate-none", "budget": 5},
    "revoke_mandate": {"mandate_id": "mandate-none"},
    "revoke_key": {"key": "key-none"},
    "book_quote": {"quote_id": "quote-none", "idempotency_key": "a", "max_total": 1},
    "extend_booking": {"booking_id": "none", "hours": 1, "max_total": 1, "idempotency_key": "b"},
    "scale_booking": {"booking_id": "none", "max_total": 1, "idempotency_key": "c"},
    "start_booking": {"booking_id": "none"},
    "stop_booking": {"booking_id": "none"},
    "terminate_booking": {"booking_id": "none"},
    "remove_favorite": {"offer_id": "no:such:offer"},
    "delete_alert": {"alert_id": "alert-none"},
    "delete_webhook": {"webhook_id": "webhook-none"},
    "list_deliveries": {"webhook_id": "webhook-none"},
    "replay_deliveries": {"webhook_id": "webhook-none", "delivery_id": "delivery-none"},
    "rotate_webhook_secret": {"webhook_id": "webhook-none"},
}
