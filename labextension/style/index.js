import './base.css';
import './document.css';
