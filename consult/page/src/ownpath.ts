/** Where a notice leads: only addresses of this service; anything else leads to the lobby. */
export function ownPath(path: string): string {
  return /^\/(?!\/)[\w/.?=&-]*(#[a-z0-9-]{1,40})?$/.test(path) ? path : "/rooms";
}
