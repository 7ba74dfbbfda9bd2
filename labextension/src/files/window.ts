import { useLayoutEffect, useState } from 'react';

/** Rows drawn beyond each edge, so that fast scrolling shows no gaps. */
const BEYOND = 10;

/** How high a box of rows is, in pixels: as they need, but neither tiny nor endless. */
export function boxHeight(count: number, height: number, most = 420): number {
  return Math.max(120, Math.min(most, count * height + 2));
}

/** Which rows of a long list to draw. */
export interface Visible {
  first: number;
  /** One past the last. */
  end: number;
  /** How many fit, at least one. */
  page: number;
}

/** Follow which rows of equal height, in pixels, a scrolling box shows. */
export function useWindow(element: HTMLElement | null, count: number, height: number): Visible {
  const [place, setPlace] = useState({ top: 0, space: 400 });
  useLayoutEffect(() => {
    if (!element) {
      return undefined;
    }
    const look = (): void => {
      const { scrollTop: top, clientHeight: space } = element;
      setPlace(before => (before.top === top && before.space === space ? before : { top, space }));
    };
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    look();
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, [element]);
  const page = Math.max(1, Math.floor(place.space / height));
  const top = Math.min(Math.floor(place.top / height), Math.max(0, count - page));
  return { first: Math.max(0, top - BEYOND), end: Math.min(count, top + page + 1 + BEYOND), page };
}

/** Scroll so that a row is wholly seen. */
export function reveal(element: HTMLElement | null, row: number, height: number): void {
  if (!element) {
    return;
  }
  const top = row * height;
  if (top < element.scrollTop) {
    element.scrollTop = top;
  } else if (top + height > element.scrollTop + element.clientHeight) {
    element.scrollTop = top + height - element.clientHeight;
  }
}
