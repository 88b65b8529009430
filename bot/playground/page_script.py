"""What is added to the script of simcord's page, whose module scope it shares.

The page draws a changed message anew, every second or two while a job runs. A button that is
replaced while it is pressed is not clicked, so nothing is drawn meanwhile. A menu closes when it is
out of sight, which it is for a moment when it opens below pictures that are drawn anew, so the page
scrolls back before it looks. It stays at the end of the channel only when it is exactly there, so a
new picture would grow out of sight. And it has files below embeds and buttons, Discord above them.
"""

SCRIPT = """
{
  const resume = () => setTimeout(session.resume, 50);
  addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) session.pause();
  }, true);
  addEventListener("pointerup", resume, true);
  addEventListener("pointercancel", resume, true);
  addEventListener("blur", resume);

  const order = new CSSStyleSheet();
  order.replaceSync(`
    .channel-message { display: flex; flex-direction: column; }
    .channel-message > :is(.embed-card, .message-components),
    .channel-message > :is(.embed-card, .message-components) ~ :not(.message-attachments) {
      order: 1;
    }
    .message-attachments { margin-bottom: 8px; }
  `);
  document.adoptedStyleSheets.push(order);

  const { update } = modal;
  modal.update = (...drawn) => {
    timeline.reconcileScrollIntent();
    return update(...drawn);
  };

  const view = ui.timeline;
  const { ready } = timeline;
  let newest = null;
  let following = true;
  let moved = -Infinity;
  const follow = () => { if (following) view.scrollTop = view.scrollHeight; };
  timeline.ready = () => {
    ready();
    if (state.targetId !== newest) { newest = state.targetId; following = true; }
    follow();
  };
  new ResizeObserver(() => requestAnimationFrame(follow)).observe(ui.messageList);
  for (const hand of ["wheel", "touchmove", "pointerdown", "keydown"]) {
    view.addEventListener(hand, () => { moved = performance.now(); }, { passive: true });
  }
  view.addEventListener("scroll", () => {
    if (performance.now() - moved > 1000) return;
    following = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
  }, { passive: true });
}
"""
