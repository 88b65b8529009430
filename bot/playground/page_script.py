"""What is added to the script of simcord's page, whose module scope it shares.

The page draws a changed message anew, every second or two while a job runs. A button that is
replaced while it is pressed is not clicked, so nothing is drawn meanwhile. And the page stays at
the end of the channel only when it is exactly there, so a new picture would grow out of sight.
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
