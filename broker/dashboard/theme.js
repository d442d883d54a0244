// Owns: dark or light. By the system unless a person chose; runs before the first paint, and so is not a module.
(function () {
  const KEY = 'fluidcloud.theme';
  const THEMES = ['auto', 'light', 'dark'];
  const SAYS = { auto: 'as the system', light: 'light', dark: 'dark' };

  function read() {
    try {
      const kept = localStorage.getItem(KEY);
      return THEMES.includes(kept) ? kept : 'auto';
    } catch {
      return 'auto';
    }
  }

  function apply(theme) {
    if (theme === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', theme);
    const button = document.getElementById('theme');
    if (button) button.textContent = `Theme: ${SAYS[theme]}`;
  }

  apply(read());
  document.addEventListener('DOMContentLoaded', () => {
    apply(read());
    document.getElementById('theme').addEventListener('click', () => {
      const next = THEMES[(THEMES.indexOf(read()) + 1) % THEMES.length];
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // It holds until the page is left.
      }
      apply(next);
    });
  });
})();
